"""Estimates with 95 % intervals from a cluster bootstrap.

Sentences of one review are not independent, so whole groups are drawn with replacement
(Davison and Hinkley 1997, Bootstrap Methods and their Application, section 3.8; Field and Welsh
2007, doi:10.1111/j.1467-9868.2007.00593.x). Only per-group counts are resampled, never rows, and
every contestant meets the same draws, which pairs the differences.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from evals.records import Estimate, Metric
from supply_chain.errors import InvalidInput

Floats = NDArray[np.float64]
_CELLS = 1 << 22
_TAIL = 0.025


@dataclass(frozen=True)
class Bench:
    """Test rows (truth and group of each) and how they are resampled; the same for every contestant.

    Raises InvalidInput for fewer than two groups, which say nothing about variation.
    """

    truth: Sequence[str]
    groups: Sequence[str]
    labels: Sequence[str]
    resamples: int
    seed: int

    def __post_init__(self) -> None:
        if len(set(self.groups)) < 2:
            raise InvalidInput(
                f"all {len(self.truth)} test rows belong to one group, so no interval can be given: "
                "set data.group to a column with more values, or remove it"
            )

    def estimate(self, metric: Metric, answers: Sequence[str]) -> Estimate:
        """Accuracy or macro F1 of `answers`, one a row.

        When every answer is right (or wrong) all draws agree; the exact bound of Clopper and
        Pearson (1934) over the groups is given instead of an interval of no width.
        """
        statistic, counts = _STATISTICS[metric], self._counts(answers)
        mean = float(statistic(counts.sum(axis=0)[None])[0])
        bound = _TAIL ** (1 / self._size)
        if mean >= 1:
            return Estimate(mean=1.0, low=bound, high=1.0, n=len(self.truth))
        if mean <= 0:
            return Estimate(mean=0.0, low=0.0, high=1 - bound, n=len(self.truth))
        return self._interval(mean, statistic(self._resample(counts)))

    def difference(self, metric: Metric, contestant: Sequence[str], against: Sequence[str]) -> Estimate:
        """Metric of `contestant` minus that of `against`, both on the same draws."""
        statistic, one, other = _STATISTICS[metric], self._counts(contestant), self._counts(against)
        mean = float((statistic(one.sum(axis=0)[None]) - statistic(other.sum(axis=0)[None]))[0])
        return self._interval(mean, statistic(self._resample(one)) - statistic(self._resample(other)))

    def mean(self, values: Floats) -> Estimate:
        """Mean of one value a row."""
        sums = np.zeros((self._size, 2))
        np.add.at(sums, self._group_of, np.column_stack([values, np.ones(len(values))]))
        totals = self._resample(sums)
        return self._interval(float(values.mean()), totals[:, 0] / totals[:, 1])

    def _interval(self, mean: float, draws: Floats) -> Estimate:
        low, high = np.quantile(draws, [_TAIL, 1 - _TAIL])
        return Estimate(mean=mean, low=float(low), high=float(high), n=len(self.truth))

    def _counts(self, answers: Sequence[str]) -> Floats:
        """Right, answered and true rows by group and label: [groups, 3 x labels]."""
        position = {label: i for i, label in enumerate(self.labels)}
        unknown = sorted(({*answers} | {*self.truth}) - position.keys())
        if unknown or len(answers) != len(self.truth):
            raise InvalidInput(
                f"{len(answers)} answers to {len(self.truth)} rows, labels not known: {', '.join(unknown) or 'none'}; "
                f"expected one of {', '.join(self.labels)} for each row"
            )
        true = np.array([position[label] for label in self.truth])
        answered = np.array([position[label] for label in answers])
        counts = np.zeros((self._size, 3, len(self.labels)))
        right = true == answered
        np.add.at(counts[:, 0], (self._group_of[right], true[right]), 1)
        np.add.at(counts[:, 1], (self._group_of, answered), 1)
        np.add.at(counts[:, 2], (self._group_of, true), 1)
        return counts.reshape(self._size, -1)

    def _resample(self, sums: Floats) -> Floats:
        """Sums over each draw of groups: [groups, columns] to [resamples, columns]."""
        return np.concatenate([weights @ sums for weights in self._draws()])

    def _draws(self) -> Iterator[Floats]:
        if self.resamples * self._size <= _CELLS:
            yield self._few_draws
        else:  # too many to keep: drawn again for each use, from the same seed
            yield from self._draw()

    @cached_property
    def _few_draws(self) -> Floats:
        return np.concatenate(list(self._draw()))

    def _draw(self) -> Iterator[Floats]:
        """How often each group is drawn, in blocks of [resamples, groups]."""
        rng, block = np.random.default_rng(self.seed), max(1, _CELLS // self._size)
        for start in range(0, self.resamples, block):
            rows = min(block, self.resamples - start)
            drawn = rng.integers(0, self._size, (rows, self._size)) + self._size * np.arange(rows)[:, None]
            yield np.bincount(drawn.ravel(), minlength=rows * self._size).reshape(rows, -1).astype(np.float64)

    @cached_property
    def _group_of(self) -> NDArray[np.intp]:
        return np.unique(np.asarray(self.groups), return_inverse=True)[1]

    @cached_property
    def _size(self) -> int:
        return len(set(self.groups))


def _accuracy(counts: Floats) -> Floats:
    right, _, true = np.split(counts, 3, axis=1)
    return np.asarray(right.sum(axis=1) / true.sum(axis=1))


def _macro_f1(counts: Floats) -> Floats:
    """F1 averaged over all labels; a label that is neither true nor answered counts 0, as in scikit-learn."""
    right, answered, true = np.split(counts, 3, axis=1)
    size = answered + true
    return np.asarray(np.divide(2 * right, size, out=np.zeros_like(right), where=size > 0).mean(axis=1))


_STATISTICS: dict[Metric, Callable[[Floats], Floats]] = {"accuracy": _accuracy, "macro_f1": _macro_f1}
