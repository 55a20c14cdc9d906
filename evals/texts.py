"""Written texts: what each row counts in every metric, and which answers are good enough.

A scorer that fails ends the evaluation with the row's id. A row that a scorer cannot score is not a bad
one: it is left out of the figure and counted.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from evals.metrics import Floats, Statistic
from evals.scorers.named import scorer_of
from evals.scorers.scorer import Scorer
from supply_chain.errors import InvalidInput, SupplyChainError
from supply_chain.recipe.tasks import Metric


@dataclass(frozen=True)
class TextRules:
    """The metrics of written texts, and what `decides` must at least be for an answer to be right."""

    metrics: tuple[Metric, ...]
    decides: Metric
    acceptable: float

    @cached_property
    def scorers(self) -> dict[str, Scorer]:
        """A scorer for each metric, by name."""
        return {name: scorer_of(name) for name in self.metrics}

    def table(self, ids: Sequence[str], truth: Sequence[str], answers: Sequence[str]) -> Floats:
        """Every metric's counts side by side: [rows, columns], NaN where a row could not be scored."""
        rows = list(zip(ids, truth, answers, strict=True))
        blocks = [[self._counts(name, *row) for row in rows] for name in self.scorers]
        return np.concatenate([np.array(block, dtype=np.float64) for block in blocks], axis=1)

    def statistics(self) -> dict[str, Statistic]:
        """Each metric as a function of summed counts."""
        return {name: self._statistic(name) for name in self.scorers}

    def values(self, table: Floats) -> Floats:
        """What decides, row by row; NaN where a row could not be scored."""
        place = self._places[self.decides]
        found = self.scorers[self.decides].value(np.nan_to_num(table[:, place]))
        return np.where(np.isnan(table[:, place.start]), np.nan, found)

    def unscored(self, table: Floats) -> dict[str, int]:
        """Rows that a metric could not score, by metric; only metrics with such rows."""
        missing = {name: int(np.isnan(table[:, place.start]).sum()) for name, place in self._places.items()}
        return {name: rows for name, rows in missing.items() if rows}

    @cached_property
    def _places(self) -> dict[str, slice]:
        places, start = {}, 0
        for name, scorer in self.scorers.items():
            places[name] = slice(start, start + scorer.columns)
            start += scorer.columns
        return places

    def _statistic(self, name: str) -> Statistic:
        place, scorer = self._places[name], self.scorers[name]
        return lambda sums: scorer.value(sums[:, place])

    def _counts(self, name: str, row: str, truth: str, answer: str) -> Sequence[float]:
        scorer = self.scorers[name]
        try:
            found = scorer.counts(row, truth, answer)
        except SupplyChainError:
            raise
        except Exception as error:  # a scorer may be anyone's code, and its error is never a score
            raise InvalidInput(
                f"row {row}: the scorer of {name} failed ({type(error).__name__}: {error}); nothing was scored. "
                f"Leave {name} out of evaluate, or mend the row"
            ) from error
        if found is None:
            return [np.nan] * scorer.columns
        if len(found) != scorer.columns or not np.isfinite(found).all():
            raise InvalidInput(f"row {row}: the scorer of {name} gave {list(found)}; expected finite numbers")
        return found
