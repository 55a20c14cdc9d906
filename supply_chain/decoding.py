"""How tokens are picked while writing, and which way of picking is kept in an artifact.

The likeliest token, or one drawn from the nucleus (Holtzman et al. 2020, arXiv:1904.09751, section 3.1), after the
repetition penalty (Keskar et al. 2019, arXiv:1909.05858, section 4.1). The same text is always written the same
answer: its tokens are the seed.
"""

from collections.abc import Callable, Sequence
from hashlib import sha256
from typing import TYPE_CHECKING, Protocol

import numpy as np
from pydantic import BaseModel, ConfigDict

from supply_chain.errors import InvalidInput
from supply_chain.loaded import Loaded
from supply_chain.prompt import Renderer
from supply_chain.recipe.decoding import DecodingGrid, Setting
from supply_chain.records import Example

if TYPE_CHECKING:
    from supply_chain.job import Job


class Figure(Protocol):
    """A mean over `n` rows and its 95 % interval."""

    @property
    def mean(self) -> float: ...
    @property
    def low(self) -> float: ...
    @property
    def high(self) -> float: ...
    @property
    def n(self) -> int: ...


Measure = Callable[["Job", Sequence[Example], Sequence[str]], Figure]
"""The recipe's metric of answers, one a row."""


class Tried(BaseModel):
    """One setting and what it reached: the recipe's metric on `n` validation rows, with its 95 % interval."""

    model_config = ConfigDict(frozen=True, extra="forbid")
    setting: Setting
    mean: float
    low: float
    high: float
    n: int


class Chosen(BaseModel):
    """The best of the settings that were tried; of equal ones the first."""

    model_config = ConfigDict(frozen=True, extra="forbid")
    setting: Setting
    metric: str
    room: int
    """Tokens of an answer where a setting names none."""
    tried: list[Tried]


class Picker:
    """Picks the tokens of one answer."""

    def __init__(self, setting: Setting, context: Sequence[int]):
        self.setting = setting
        self.seen = np.unique(np.asarray(context, dtype=np.int64))
        seed = sha256(np.asarray(context, dtype="<i8").tobytes()).digest()[:8]
        self.source = np.random.default_rng(int.from_bytes(seed, "little"))

    def pick(self, logits: np.ndarray) -> int:
        """The next token from logits [vocabulary]."""
        found = self._penalized(np.asarray(logits, dtype=np.float64))
        token = self._draw(found / self.setting.temperature) if self.setting.temperature else int(found.argmax())
        self.seen = np.union1d(self.seen, [token])
        return token

    def _penalized(self, logits: np.ndarray) -> np.ndarray:
        penalty = self.setting.repetition_penalty
        if penalty == 1:
            return logits
        found, own = logits.copy(), logits[self.seen]
        found[self.seen] = np.where(own > 0, own / penalty, own * penalty)
        return found

    def _draw(self, logits: np.ndarray) -> int:
        shares = np.exp(logits - logits.max())
        order = np.argsort(-shares, kind="stable")
        mass = np.cumsum(shares[order] / shares.sum())
        kept = int(np.searchsorted(mass, self.setting.top_p * (1 - 1e-12))) + 1
        return int(order[np.searchsorted(mass, self.source.random() * mass[min(kept, len(mass)) - 1], side="right")])


def choose_decoding(
    job: "Job", loaded: Loaded, renderer: Renderer, rows: Sequence[Example], room: int
) -> tuple[int, Chosen | None]:
    """Tries the recipe's settings on validation rows; returns the answer's room in tokens, and the choice.

    None where the recipe declares none: then the likeliest tokens are written. Raises InvalidInput for a job that
    brings no metric, or rows whose answers cannot be measured.
    """
    from supply_chain.generation import write  # noqa: PLC0415 (torch)

    grid = job.recipe.evaluate.decoding
    if grid is None:
        return room, None
    if job.measure is None:
        raise InvalidInput("evaluate.decoding is chosen by evaluate.metric, which this job does not bring: Job.measure")
    asked = _some(rows, grid)
    contexts, tried = [renderer.context(row.text) for row in asked], []
    for setting in grid.settings:
        written = write(loaded, contexts, setting.max_new_tokens or room, renderer.complete, setting=setting)
        found = job.measure(job, asked, [renderer.read(w.text) for w in written])
        tried.append(Tried(setting=setting, mean=found.mean, low=found.low, high=found.high, n=found.n))
    best = max(tried, key=lambda one: one.mean).setting
    return best.max_new_tokens or room, Chosen(setting=best, metric=job.recipe.evaluate.metric, room=room, tried=tried)


def _some(rows: Sequence[Example], grid: DecodingGrid) -> list[Example]:
    """Whole groups in the order of their names, until there are enough rows."""
    found: list[Example] = []
    by_group: dict[str, list[Example]] = {}
    for row in rows:
        by_group.setdefault(row.group, []).append(row)
    for _, group in sorted(by_group.items()):
        if len(found) + len(group) <= grid.rows or not found:
            found += group
    return found
