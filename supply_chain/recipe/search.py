"""The `search` block: which keys of `train` are tried within which ranges, and for how long."""

import difflib
from collections.abc import Iterator
from typing import Annotated, Any, Literal, TypeVar, get_args

from pydantic import BaseModel, Discriminator, Field, Tag, ValidationError, model_validator

from supply_chain.recipe.part import Part
from supply_chain.recipe.train import Loop

Scalar = str | int | float | bool | None
L = TypeVar("L", bound=Loop)
_FIXED = ("method", "stopping", "checkpoint_steps", "teacher", "continual")


class Span(Part):
    """Numbers from `low` to `high`, both included."""

    low: float
    high: float
    log: bool = False
    """Draws orders of magnitude evenly, as learning rates want it."""
    step: float | None = Field(None, gt=0)

    @model_validator(mode="after")
    def _ordered(self) -> "Span":
        if self.low >= self.high:
            raise ValueError(f"low ({self.low:g}) must be less than high ({self.high:g})")
        if self.log and (self.low <= 0 or self.step is not None):
            raise ValueError("log needs a low above 0 and takes no step")
        return self


class Choices(Part):
    """One of several values."""

    choices: list[Scalar] = Field(min_length=2, max_length=100)


def _shape(value: Any) -> str:
    return "choices" if isinstance(value, Choices) or (isinstance(value, dict) and "choices" in value) else "span"


Range = Annotated[Annotated[Span, Tag("span")] | Annotated[Choices, Tag("choices")], Discriminator(_shape)]


class Search(Part):
    """Trains the recipe with other values, and keeps the ones whose validation metric is best.

    The first trial takes the recipe's own values; the next `startup` are drawn at random, the others by
    TPE (Bergstra et al. 2011). What comes out is no worse on the validation rows than the recipe as it stands.
    """

    ranges: dict[str, Range] = Field(min_length=1, max_length=30)
    """By key of `train`, with dots for keys of its parts: `lora.rank`."""
    trials: int = Field(20, ge=2, le=1000)
    minutes: float | None = Field(None, gt=0)
    """Ends sooner; a trial that is running then ends at its next measurement, if another one was finished."""
    startup: int = Field(5, ge=1)
    """Trials before TPE and pruning begin."""
    pruning: Literal["median", "none"] = "median"
    """`median` ends a trial whose measurements fall behind the median of the finished ones'."""


def search_faults(search: Search, train: Loop, metric_measured: bool) -> list[str]:
    """Everything that keeps `search` from being carried out on `train`."""
    faults = [f"search.ranges.{key}: {fault}" for key, r in search.ranges.items() for fault in _faults(key, r, train)]
    if not metric_measured:
        faults.append("search compares trials by the validation metric of classification, whatever the trial's loss")
    elif train.stopping is None:
        faults.append("search compares trials by what train.stopping measures: add `stopping: {}` to train")
    return faults


def with_values(train: L, values: dict[str, Scalar]) -> L:
    """`train` with other values, by dotted key. Raises ValidationError."""
    data = train.model_dump()
    for key, value in values.items():
        *parts, last = key.split(".")
        place = data
        for part in parts:
            place = place[part]
        place[last] = value
    return type(train).model_validate(data)


def value_at(train: Loop, key: str) -> Scalar:
    """The value of a dotted key."""
    value: Any = train
    for part in key.split("."):
        value = getattr(value, part)
    return value


def is_whole(train: Loop, key: str) -> bool:
    """Whether a dotted key takes whole numbers."""
    return int in _types(train, key)


def _faults(key: str, given: Span | Choices, train: Loop) -> Iterator[str]:
    unknown = _unknown(key, train)
    if unknown:
        yield unknown
        return
    values: list[Any] = given.choices if isinstance(given, Choices) else [given.low, given.high]
    if isinstance(given, Span):
        kinds = _types(train, key)
        if not kinds & {int, float}:
            yield "is no number: give choices"
            return
        numbers = [given.low, given.high, given.step or 1]
        if int in kinds and any(not float(n).is_integer() for n in numbers):
            yield "takes whole numbers: make low, high and step whole"
            return
        values = [int(v) for v in values] if int in kinds else values
    for value in values:
        try:
            with_values(train, {key: value})
        except ValidationError as error:
            yield from (f"{value!r}: {detail['msg'].removeprefix('Value error, ')}" for detail in error.errors())


def _unknown(key: str, train: Any) -> str | None:
    place: Any = train
    parts = key.split(".")
    if parts[0] in _FIXED:
        return "is the same in all trials: leave it out"
    for depth, part in enumerate(parts):
        if not isinstance(place, BaseModel):
            return f"train.{'.'.join(parts[:depth])} has no keys here"
        known = type(place).model_fields
        if part not in known:
            near = difflib.get_close_matches(part, known, n=1, cutoff=0.5)
            hint = f"did you mean {near[0]}?" if near else f"known: {', '.join(known)}"
            return f"train (method {train.method}) has no such key; {hint}"
        place = getattr(place, part)
    return f"is a block: name one of its keys, {key}.…" if isinstance(place, BaseModel) else None


def _types(train: Loop, key: str) -> set[Any]:
    *parts, last = key.split(".")
    place: Any = train
    for part in parts:
        place = getattr(place, part)
    annotation = type(place).model_fields[last].annotation
    return {annotation, *get_args(annotation)}
