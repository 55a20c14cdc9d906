"""What every scorer of written texts offers."""

from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import Protocol

import numpy as np

from evals.metrics import Floats


class Scorer(Protocol):
    """Counts one row's answer against the truth, and makes one figure (0 to 1) of summed counts.

    Only counts are resampled, so a figure of the whole corpus, such as BLEU, keeps its definition in every draw.
    """

    columns: int

    def counts(self, row: str, truth: str, answer: str) -> Sequence[float] | None:
        """`columns` numbers that may be summed over rows; None where the row (its id) cannot be scored."""

    def value(self, sums: Floats) -> Floats:
        """The figure of summed counts: [draws, columns] to [draws]."""


class MeanScorer(ABC):
    """A scorer whose figure is the mean of one score a row."""

    columns = 2

    @abstractmethod
    def score(self, row: str, truth: str, answer: str) -> float | None:
        """One row's score from 0 to 1; None where it cannot be scored."""

    def counts(self, row: str, truth: str, answer: str) -> Sequence[float] | None:
        """The score, and 1 for having been scored."""
        found = self.score(row, truth, answer)
        return None if found is None else (found, 1.0)

    def value(self, sums: Floats) -> Floats:
        """The mean over the rows that were scored; 0 for a draw of none."""
        total, rows = sums[:, 0], sums[:, 1]
        return np.asarray(np.divide(total, rows, out=np.zeros_like(total), where=rows > 0))
