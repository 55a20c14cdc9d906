"""Rows of one of lm-eval's tasks, rendered here: its templates are untrusted, and lm-eval renders without a sandbox.

lm-eval is then given columns alone. What a template may hold is listed: no statement but `if` and one `for`, no
multiplication, and the methods and filters below, so that its cost grows with the template times the row.
"""

import ast
import random
from collections.abc import Callable, Mapping, Sequence
from functools import lru_cache
from typing import Any

from jinja2 import StrictUndefined, Template, TemplateError, nodes
from jinja2.sandbox import ImmutableSandboxedEnvironment
from pydantic import BaseModel, ConfigDict

from supply_chain.data.rows import read_rows
from supply_chain.data.source import Located, locate
from supply_chain.errors import InvalidInput
from supply_chain.recipe.sources import PathSource
from supply_chain.recipe.stock import TaskFile
from supply_chain.records import Reject
from supply_chain.settings import Settings

Value = int | str | list[int] | list[str]
_MAX_CHARS, _MAX_RENDERED, _SHOWN = 8_000, 200_000, 5
_FILTERS = {"capitalize", "first", "int", "join", "last", "length", "list", "lower", "string", "title", "trim", "upper"}
_METHODS = {
    "strip", "lstrip", "rstrip", "split", "rsplit", "splitlines", "lower", "upper", "title", "capitalize", "index",
    "find", "startswith", "endswith", "get", "keys", "values", "items", "join",
}  # fmt: skip
_REFUSED = (
    nodes.Assign, nodes.AssignBlock, nodes.Block, nodes.CallBlock, nodes.EvalContextModifier, nodes.ExprStmt,
    nodes.Extends, nodes.FilterBlock, nodes.Import, nodes.FromImport, nodes.Include, nodes.Macro, nodes.Mul, nodes.Pow,
    nodes.Mod, nodes.With,
)  # fmt: skip


class StockRow(BaseModel):
    """One question as the model meets it; `choices` is empty where none are given."""

    model_config = ConfigDict(frozen=True)
    text: str
    target: Value
    choices: list[str]


def source_of(path: str, settings: Settings) -> Located:
    """A task's data file inside the project. Raises InvalidInput."""
    return locate(PathSource(kind="path", path=path), settings.downloads, settings.root)


def rows_of(name: str, source: Located, file: TaskFile, sample: tuple[int, int] | None = None) -> list[StockRow]:
    """Every row of a file, or a sample (seed, rows) of it. Raises InvalidInput that names the rows at fault."""
    documents, faults = [], []
    for row in read_rows(source, None, []):
        if isinstance(row, Reject):
            faults.append(f"line {row.line}: {row.reason} ({row.detail})")
        else:
            documents.append((row.line, row.values))
    if sample is not None and sample[1] < len(documents):
        kept = sorted(random.Random(sample[0]).sample(range(len(documents)), sample[1]))  # noqa: S311
        documents = [documents[i] for i in kept]
    found = []
    for line, values in documents:
        try:
            found.append(_row(values, file))
        except (ValueError, TypeError, LookupError, TemplateError, SyntaxError, MemoryError, RecursionError) as error:
            faults.append(f"line {line}: {type(error).__name__}: {str(error)[:200]}")
    kinds = {type(row.target).__name__ for row in found}
    if len(kinds) > 1:
        faults.append(f"doc_to_target gives {' and '.join(sorted(kinds))}, expected one kind")
    if faults or not found:
        more = f" and {len(faults) - _SHOWN} more" if len(faults) > _SHOWN else ""
        raise InvalidInput(f"task {name}: {source.name}: {'; '.join(faults[:_SHOWN]) or 'holds no row'}{more}")
    return found


def _row(values: Mapping[str, Any], file: TaskFile) -> StockRow:
    choices = _choices(values, file)
    target = _target(values, file)
    if choices:
        _check_target(target, choices)
    elif file.output_type == "multiple_choice":
        raise ValueError("no choices")
    text = values[file.doc_to_text] if file.doc_to_text in values else rendered(file.doc_to_text, values)
    return StockRow(text=str(text), target=target, choices=choices)


def _choices(values: Mapping[str, Any], file: TaskFile) -> list[str]:
    spec = file.doc_to_choice
    if spec is None:
        return []
    if isinstance(spec, str):
        found = values[spec] if spec in values else ast.literal_eval(rendered(spec, values))
    else:
        found = list(spec.values()) if isinstance(spec, dict) else spec
    if not isinstance(found, list) or not all(isinstance(one, str) and one for one in found):
        raise ValueError(f"doc_to_choice gives {str(found)[:80]!r}, expected a list of texts")
    return found


def _target(values: Mapping[str, Any], file: TaskFile) -> Value:
    """As lm-eval reads it: a column's value, or the rendered text as an index or a list where it looks like one."""
    spec = file.doc_to_target
    if isinstance(spec, int):
        return spec
    if spec in values:
        return _plain(values[spec])
    text = rendered(spec, values)
    if text.isdigit() and file.doc_to_choice is not None:
        return int(text)
    if len(text) > 1 and text[0] == "[" and text[-1] == "]":
        try:
            return _plain(ast.literal_eval(text))
        except (SyntaxError, ValueError):
            return text
    return text


def _plain(value: Any) -> Value:
    many = isinstance(value, list) and (all(type(v) is int for v in value) or all(type(v) is str for v in value))
    if type(value) is int or type(value) is str or (many and value):
        found: Value = value
        return found
    raise ValueError(f"doc_to_target gives {str(value)[:80]!r}, expected a text, a number or a list of either")


def _check_target(target: Value, choices: Sequence[str]) -> None:
    """lm-eval scores 0 where the truth is none of the choices; here that is an error of the data."""
    for one in target if isinstance(target, list) else [target]:
        if not (0 <= one < len(choices) if isinstance(one, int) else one in choices):
            raise ValueError(f"the truth {one!r} is none of the {len(choices)} choices")


def rendered(template: str, values: Mapping[str, Any]) -> str:
    """A template with a row's columns. Raises ValueError or TemplateError."""
    parts, size = [], 0
    for part in _compiled(template).generate(**values):
        size += len(part)
        if size > _MAX_RENDERED:
            raise ValueError(f"renders to more than {_MAX_RENDERED} characters")
        parts.append(part)
    return "".join(parts)


class _Sandbox(ImmutableSandboxedEnvironment):
    def is_safe_attribute(self, obj: Any, attr: str, value: Any) -> bool:
        """Data may be looked into; of methods, only those that arrange texts."""
        safe = super().is_safe_attribute(obj, attr, value)
        return bool(safe and (not callable(value) or attr in _METHODS))

    def is_safe_callable(self, obj: Callable[..., Any]) -> bool:
        """Methods alone: there is nothing else to call."""
        return super().is_safe_callable(obj) and getattr(obj, "__name__", "") in _METHODS


@lru_cache(maxsize=64)
def _compiled(template: str) -> Template:
    if len(template) > _MAX_CHARS:
        raise ValueError(f"a template is longer than {_MAX_CHARS} characters")
    sandbox = _Sandbox(undefined=StrictUndefined, autoescape=False, keep_trailing_newline=True)
    sandbox.globals.clear()
    sandbox.filters = {name: sandbox.filters[name] for name in _FILTERS}
    parsed = sandbox.parse(template)
    refused = next(parsed.find_all(_REFUSED), None)
    loops = list(parsed.find_all(nodes.For))
    if refused is not None or any(list(loop.find_all(nodes.For)) or loop.recursive for loop in loops):
        what = type(refused).__name__ if refused is not None else "a loop in a loop"
        raise ValueError(f"{what} cannot stand in a task's template")
    return sandbox.from_string(template)
