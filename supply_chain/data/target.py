"""A row's answer as text, in one canonical form for each task."""

import json
import math
from collections.abc import Callable
from functools import partial
from typing import Any

from supply_chain.identity import canonical_json
from supply_chain.recipe.data import DataSpec, LabelSpec

_REMEMBERED, _SHORT = 10_000, 200


def target_reader(spec: DataSpec) -> Callable[[object], str | None]:
    """Gives the label, canonical JSON list, canonical JSON object or completion; None for what is none of these."""
    if spec.task == "classification":
        return _remembering(partial(_label, spec.label))
    if spec.task == "multilabel":
        return partial(_labels, spec.label)
    if spec.task == "extraction":
        return partial(_fields, spec.label)
    return lambda value: value.strip() or None if isinstance(value, str) else None


def _remembering(read: Callable[[object], str | None]) -> Callable[[object], str | None]:
    known: dict[str, str | None] = {}

    def reading(value: object) -> str | None:
        if type(value) is not str or len(value) > _SHORT:
            return read(value)
        if value not in known:
            if len(known) >= _REMEMBERED:
                known.clear()
            known[value] = read(value)
        return known[value]

    return reading


def prompt_and_answer(spec: DataSpec, values: dict[str, Any]) -> tuple[object, object]:
    """Input and answer of a row; chat messages give all but the last, and the last."""
    text, answer = values.get(spec.text), values.get(spec.label.column)
    if spec.task != "generation" or not isinstance(text, list):
        return text, answer
    if len(text) < 2 or not all(_is_message(m) for m in text) or text[-1]["role"] != "assistant":
        return None, None
    earlier = text[:-1]
    single = len(earlier) == 1 and earlier[0]["role"] == "user"
    return earlier[0]["content"] if single else canonical_json(earlier), text[-1]["content"]


def names_in(task: str, label: str) -> list[str]:
    """The class names, or field names, that a label holds."""
    if task == "classification":
        return [label]
    return list(json.loads(label)) if task in {"multilabel", "extraction"} else []


def canonical_target(task: str, text: str, names: list[str]) -> str | None:
    """What a person typed as a label, in the canonical form that answers have; None for what is none."""
    text = text.strip()
    if task == "classification":
        return text if text in names else None
    spec = LabelSpec(column="label", names=names or None)
    if task == "multilabel":
        return "[]" if text == "[]" else _labels(spec, text)
    if task == "extraction":
        return "{}" if text == "{}" else _fields(spec, text)
    return text or None


def _label(spec: LabelSpec, value: object) -> str | None:
    if value is None or isinstance(value, dict | list):
        return None
    if spec.bins:
        try:
            number = float(str(value))
        except ValueError:
            return None
        return next((b.label for b in spec.bins if b.fits(number)), None) if math.isfinite(number) else None
    label = spec.map.get(str(value)) if spec.map else str(value).strip()
    return label if label and (spec.names is None or label in spec.names) else None


def _labels(spec: LabelSpec, value: object) -> str | None:
    if isinstance(value, str):
        value = value.split(spec.separator) if spec.separator else _parsed(value)
    if not isinstance(value, list):
        return None
    labels = [_label(spec, v) for v in value]
    return canonical_json(sorted({label for label in labels if label})) if labels and all(labels) else None


def _fields(spec: LabelSpec, value: object) -> str | None:
    value = _parsed(value) if isinstance(value, str) else value
    if not isinstance(value, dict):
        return None
    renamed = {(spec.map or {}).get(str(k), str(k)): v for k, v in value.items()}
    known = {k: v for k, v in renamed.items() if v is not None and (spec.names is None or k in spec.names)}
    if any(not isinstance(v, str | int | float | bool | list) for v in known.values()):
        return None
    try:
        return canonical_json(known) if known else None
    except (TypeError, ValueError):
        return None


def _parsed(text: str) -> object:
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        return None


def _is_message(message: object) -> bool:
    return (
        isinstance(message, dict)
        and message.get("role") in {"system", "user", "assistant"}
        and isinstance(message.get("content"), str)
    )
