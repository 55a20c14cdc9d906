"""What a search has tried: the record of it, and its log while it goes on."""

import json
from pathlib import Path
from typing import ClassVar, Literal

from pydantic import BaseModel, ConfigDict, TypeAdapter

from supply_chain.recipe import Recipe
from supply_chain.recipe.search import Scalar, with_values
from supply_chain.records import ValidationPoint
from supply_chain.store import Record, write_atomically


class Tried(BaseModel):
    """One trial: the values it took for keys of `train`, and what came of it."""

    model_config = ConfigDict(frozen=True)
    number: int
    values: dict[str, Scalar]
    outcome: Literal["running", "finished", "pruned", "failed"] = "running"
    best: float | None = None
    """The highest of `measured`, when it finished."""
    measured: list[ValidationPoint] = []
    """The recipe's metric on validation rows, as training went on."""
    seconds: float = 0.0
    why: str = ""
    """What ended a trial that did not finish, or which earlier trial had the same values."""


class Searched(Record):
    """`trials.json`: everything that was tried. The best trial's weights are stored as its own training's."""

    kind: ClassVar[str] = "search"
    metric: str
    trials: list[Tried]
    best: int
    """Number of the best trial: the first of the highest."""
    value: float
    """Its metric on the validation rows. Test rows take no part."""
    values: dict[str, Scalar]
    adapter_key: str
    study: str
    """What decides each trial; see `keys.study_key`."""
    base_digest: str
    splits_digest: str
    tracking_run: str | None


class TrialLog:
    """The trials so far in one file, always whole; a killed search goes on from it."""

    _FORM = TypeAdapter(list[Tried])

    def __init__(self, path: Path):
        self.path = path
        self.trials = self._FORM.validate_json(path.read_bytes()) if path.exists() else []

    def put(self, tried: Tried) -> Tried:
        """Adds a trial or replaces the one of its number."""
        self.trials = [*self.trials[: tried.number], tried]
        write_atomically(self.path, json.dumps([t.model_dump(mode="json") for t in self.trials]))
        return tried

    @property
    def finished(self) -> list[Tried]:
        """The trials that trained to their end."""
        return [t for t in self.trials if t.outcome == "finished"]

    @property
    def best(self) -> Tried | None:
        """The first of the finished trials with the highest metric."""
        return max(self.finished, key=lambda t: t.best or 0.0, default=None)

    @property
    def seconds(self) -> float:
        """Time that all trials took so far (s)."""
        return sum(t.seconds for t in self.trials)


def chosen(recipe: Recipe, searched: Searched) -> Recipe:
    """The recipe with the values that a search found best."""
    return recipe.model_copy(update={"train": with_values(recipe.train, searched.values), "search": None})
