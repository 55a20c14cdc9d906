"""Turns pydantic's errors into located faults with the nearest real key."""

import difflib
from collections.abc import Iterator
from typing import Any, get_args

import yaml
from pydantic import BaseModel, ValidationError

from supply_chain.errors import Fault

_WORDS = {
    "missing": "is required",
    "extra_forbidden": "unknown key",
    "greater_than_equal": "must be at least {ge}",
    "greater_than": "must be more than {gt}",
    "less_than_equal": "must be at most {le}",
    "less_than": "must be less than {lt}",
    "literal_error": "must be {expected}",
    "string_pattern_mismatch": "must match {pattern}",
    "union_tag_invalid": "must be one of {expected_tags}",
    "union_tag_not_found": "needs the key {discriminator} that says which kind it is",
}


def faults_of(error: ValidationError, model: type[BaseModel], root: yaml.Node | None) -> list[Fault]:
    """Every fault of `error`, in the file's order, with lines taken from the composed YAML `root`."""
    faults = [_fault(detail, model, root) for detail in error.errors(include_url=False)]
    return sorted(faults, key=lambda fault: fault.line or 0)


def duplicate_keys(node: yaml.Node, path: str = "") -> Iterator[Fault]:
    """Keys that stand twice in one mapping: YAML would silently keep the last."""
    if isinstance(node, yaml.MappingNode):
        seen: set[str] = set()
        for key, value in node.value:
            where = f"{path}.{key.value}".lstrip(".")
            if key.value in seen:
                yield Fault(where, "stands twice", key.start_mark.line + 1)
            seen.add(key.value)
            yield from duplicate_keys(value, where)
    elif isinstance(node, yaml.SequenceNode):
        for index, value in enumerate(node.value):
            yield from duplicate_keys(value, f"{path}.{index}")


def _fault(detail: Any, model: type[BaseModel], root: yaml.Node | None) -> Fault:
    loc = detail["loc"]
    words = _WORDS.get(detail["type"])
    context = detail.get("ctx", {})
    message = words.format(**context) if words else detail["msg"].removeprefix("Value error, ")
    if detail["type"] == "extra_forbidden":
        message += _nearest(str(loc[-1]), _model_at(loc[:-1], model))
    elif words and detail["type"] != "missing" and not isinstance(detail["input"], dict):
        message += f", found {detail['input']!r}"
    return Fault(".".join(map(str, loc)), message, line_of(loc, root))


def _nearest(key: str, model: type[BaseModel] | None) -> str:
    if model is None:
        return ""
    near = difflib.get_close_matches(key, model.model_fields, n=1, cutoff=0.5)
    return f"; did you mean {near[0]}?" if near else f"; known: {', '.join(model.model_fields)}"


def _model_at(loc: tuple[int | str, ...], model: type[BaseModel]) -> type[BaseModel] | None:
    current: list[type[BaseModel]] = [model]
    for step in loc:
        tagged = [m for m in current if _has_tag(m, step)]
        if tagged:
            current = tagged
        elif isinstance(step, str):
            current = [
                n for m in current if step in m.model_fields for n in _models_in(m.model_fields[step].annotation)
            ]
    return current[0] if len(current) == 1 else None


def _has_tag(model: type[BaseModel], tag: int | str) -> bool:
    return any(get_args(field.annotation) == (tag,) for field in model.model_fields.values())


def _models_in(annotation: Any) -> Iterator[type[BaseModel]]:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        yield annotation
    for inner in get_args(annotation):
        yield from _models_in(inner)


def line_of(loc: tuple[int | str, ...], node: yaml.Node | None) -> int | None:
    """The line of a key, or of the nearest one above it that stands in the file."""
    line = node.start_mark.line + 1 if node is not None else None
    for step in loc:
        if isinstance(node, yaml.MappingNode):
            match = next(((k, v) for k, v in node.value if k.value == str(step)), None)
            if match is not None:
                line, node = match[0].start_mark.line + 1, match[1]
        elif isinstance(node, yaml.SequenceNode) and isinstance(step, int) and step < len(node.value):
            node = node.value[step]
            line = node.start_mark.line + 1
    return line
