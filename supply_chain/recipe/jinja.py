"""Prompt templates in Jinja. A template is untrusted: it may arrange its variables, and nothing else.

What it may hold is listed, not what it may not: no calls, no arithmetic, no assignment, no loop in a loop, and
filters that cannot blow up what they are given. So its cost grows with the template times the text.
"""

from collections.abc import Iterator, Sequence
from functools import lru_cache
from typing import Any

from jinja2 import StrictUndefined, Template, TemplateError, meta, nodes
from jinja2.sandbox import ImmutableSandboxedEnvironment

NAMES = ("text", "labels", "shots")
MAX_CHARS = 8_000
MAX_RENDERED_CHARS = 1_000_000
_MAX_DEPTH = 30
_FILTERS = {"capitalize", "first", "indent", "join", "last", "length", "lower", "title", "tojson", "trim", "upper"}
_FILTERS_IN_A_ROW = 3
_MAX_ARGUMENT = 100
_OF_SHOTS, _OF_LOOPS = {"text", "label"}, {"first", "last", "index", "index0", "length"}
_NODES = (nodes.Template, nodes.Output, nodes.TemplateData, nodes.Name, nodes.Const, nodes.If, nodes.For, nodes.Filter,
          nodes.Getattr, nodes.Compare, nodes.Operand, nodes.And, nodes.Or, nodes.Not, nodes.CondExpr, nodes.Concat,
          nodes.Keyword)  # fmt: skip
_PROBES = ("\ue000 plain \ue001", "{{ labels }} {% raw %} {# x #} <b> & \" ' \ue002\r\n", "\ue003 " * 1000 + "end")
"""Texts that no template holds. Each must come out as it is: template syntax in a text is text."""


def template_faults(source: str) -> list[str]:
    """Everything that keeps `source` from being a prompt's template."""
    try:
        parsed = _environment().parse(source)
        refused = list(dict.fromkeys(_refused(parsed)))
        odd = sorted(meta.find_undeclared_variables(parsed) - {*NAMES}) if not refused else []
        if odd:
            return [f"unknown names: {', '.join(odd)}; a template may use {', '.join(NAMES)}"]
        return refused or list(_tried(source))
    except TemplateError as error:
        return [f"not a Jinja template: {error}"]
    except RecursionError:
        return ["nests too deeply"]


def render(source: str, text: str, labels: Sequence[str], shots: Sequence[tuple[str, str]]) -> str:
    """The template with its variables; a shot has `text` and `label`. Raises ValueError."""
    shown = [{"text": shot, "label": label} for shot, label in shots]
    parts, size = [], 0
    try:
        for part in _compiled(source).generate(text=text, labels=list(labels), shots=shown):
            size += len(part)
            if size > MAX_RENDERED_CHARS:
                raise ValueError(f"renders to more than {MAX_RENDERED_CHARS} characters")
            parts.append(part)
    except (TemplateError, TypeError) as error:
        raise ValueError(f"cannot be rendered: {error}") from None
    rendered = "".join(parts)
    if text not in rendered:
        raise ValueError("must put {{ text }} into the prompt as it is")
    return rendered


def shows_shots(source: str) -> bool:
    """Whether a template shows the examples that it is given."""
    return "shots" in meta.find_undeclared_variables(_environment().parse(source))


def _tried(source: str) -> Iterator[str]:
    for shots in ((), (("a shot", "one"), ("another", "two"))):
        for probe in _PROBES:
            try:
                render(source, probe, ("one", "two", "three"), shots)
            except ValueError as error:
                yield str(error)
                return


def _refused(node: nodes.Node, depth: int = 0, looped: bool = False) -> Iterator[str]:
    name = type(node).__name__
    if depth > _MAX_DEPTH:
        yield f"nests deeper than {_MAX_DEPTH} levels"
        return
    if not isinstance(node, _NODES):
        yield f"line {node.lineno}: {name} cannot stand in a prompt; take variables, if, for and filters"
    if isinstance(node, nodes.For):
        if looped:
            yield f"line {node.lineno}: a loop cannot stand in a loop"
        if not _is(node.iter, "labels", "shots") or node.recursive:
            yield f"line {node.lineno}: a loop goes over labels or shots"
    if isinstance(node, nodes.Filter):
        yield from _filter_faults(node)
    if isinstance(node, nodes.Getattr) and not _allowed(node):
        yield f"line {node.lineno}: no attribute {node.attr}; a shot has text and label, loop has index, first and last"
    for child in node.iter_child_nodes():
        yield from _refused(child, depth + 1, looped or isinstance(node, nodes.For))


def _filter_faults(node: nodes.Filter) -> Iterator[str]:
    if node.name not in _FILTERS:
        yield f"line {node.lineno}: no filter {node.name}; there are {', '.join(sorted(_FILTERS))}"
    if node.name == "join" and not _is(node.node, "labels"):
        yield f"line {node.lineno}: join takes labels"
    given = [*node.args, *(keyword.value for keyword in node.kwargs)]
    if not all(isinstance(value, nodes.Const) and _small(value.value) for value in given):
        yield f"line {node.lineno}: a filter's arguments are numbers or texts up to {_MAX_ARGUMENT}"
    row, inner = 1, node.node
    while isinstance(inner, nodes.Filter):
        row, inner = row + 1, inner.node
    if row > _FILTERS_IN_A_ROW or node.dyn_args is not None or node.dyn_kwargs is not None:
        yield f"line {node.lineno}: at most {_FILTERS_IN_A_ROW} filters in a row, with arguments written out"


def _allowed(node: nodes.Getattr) -> bool:
    """Any other attribute would be a method, printed with its address."""
    known = _OF_LOOPS if _is(node.node, "loop") else _OF_SHOTS
    return isinstance(node.node, nodes.Name) and node.node.name not in NAMES and node.attr in known


def _small(value: Any) -> bool:
    return len(value) <= _MAX_ARGUMENT if isinstance(value, str) else abs(value or 0) <= _MAX_ARGUMENT


def _is(node: Any, *names: str) -> bool:
    return isinstance(node, nodes.Name) and node.name in names


def _environment() -> ImmutableSandboxedEnvironment:
    environment = ImmutableSandboxedEnvironment(
        undefined=StrictUndefined, autoescape=False, keep_trailing_newline=True, cache_size=0
    )
    environment.globals.clear()
    environment.filters = {name: environment.filters[name] for name in _FILTERS}
    return environment


@lru_cache(maxsize=64)
def _compiled(source: str) -> Template:
    return _environment().from_string(source)
