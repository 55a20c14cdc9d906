"""Estimates with 95 % intervals: of shares of rows by a score interval, of other metrics by a cluster bootstrap.

Sentences of one review are not independent, so whole groups are drawn with replacement
(Davison and Hinkley 1997, Bootstrap Methods and their Application, section 3.8; Field and Welsh
2007, doi:10.1111/j.1467-9868.2007.00593.x). Only per-group counts are resampled, never rows, and
every contestant meets the same draws, which pairs the differences.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from evals.intervals import effective_rows, paired_interval, share_interval
from evals.metrics import Floats, Statistic, by_label, statistics, tally
from evals.records import Estimate, LabelScore
from supply_chain.errors import InvalidInput
from supply_chain.recipe.data import Task

_CELLS = 1 << 22
_TAIL = 0.025
_ROWS = ("accuracy", "exact_match")
_ENOUGH = 20


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
    task: Task = "classification"

    def __post_init__(self) -> None:
        if len(set(self.groups)) < 2:
            raise InvalidInput(
                f"all {len(self.truth)} test rows belong to one group, so no interval can be given: "
                "set data.group to a column with more values, or remove it"
            )

    def estimate(self, metric: str, answers: Sequence[str]) -> Estimate:
        """One of the task's metrics for `answers`, one a row: see `estimates`."""
        return self.estimates(answers)[metric]

    def estimates(self, answers: Sequence[str]) -> dict[str, Estimate]:
        """All of the task's metrics, by name.

        Shares of rows have a score interval, others the bootstrap's. When every answer is right (or
        wrong) all draws agree; then the exact bound of Clopper and Pearson (1934) over the groups is
        given instead of an interval of no width.
        """
        counts = self._counts(answers)
        draws, rows = self._resample(counts), self._shares(answers)
        found = {}
        for name, statistic in self._statistics.items():
            mean, bound = float(statistic(counts.sum(axis=0)[None])[0]), _TAIL ** (1 / self._size)
            if mean >= 1:
                found[name] = Estimate(mean=1.0, low=bound, high=1.0, n=len(self.truth))
            elif mean <= 0:
                found[name] = Estimate(mean=0.0, low=0.0, high=1 - bound, n=len(self.truth))
            elif name in rows:
                low, high = share_interval(mean, effective_rows(rows[name], self._group_of, self._size))
                found[name] = Estimate(mean=mean, low=low, high=high, n=len(self.truth))
            else:
                found[name] = self._wide_enough(self._interval(mean, statistic(draws)), rows)
        return found

    def _wide_enough(self, drawn: Estimate, rows: dict[str, Floats]) -> Estimate:
        """Draws of few groups may agree by chance: then the interval is as wide as that of the rows that are right."""
        right = rows["accuracy"]
        low, high = share_interval(right.mean(), effective_rows(right, self._group_of, self._size))
        if drawn.high - drawn.low >= (high - low) / 2:
            return drawn
        half, mean = (high - low) / 2, drawn.mean
        return drawn.model_copy(update={"low": max(0.0, mean - half), "high": min(1.0, mean + half)})

    def by_label(self, answers: Sequence[str]) -> list[LabelScore]:
        """Precision, recall and F1 of every label (or field) that is true or answered somewhere."""
        columns, (rows, at) = tally(self.task, self.labels, self.truth, answers)
        counts, names = self._counts(answers), len(self.labels) + (self.task != "classification")
        draws = by_label(self._resample(counts), names)
        found, everywhere = [], np.arange(len(self.truth))
        for i, label in enumerate(self.labels):
            places = (columns - (3 - k) * names + i for k in range(3))
            right, answered, true = (np.isin(everywhere, rows[at == place]) for place in places)
            if (answered | true).any():
                found.append(
                    LabelScore(
                        label=label,
                        rows=int(true.sum()),
                        answered=int(answered.sum()),
                        precision=self.share(right[answered], answered) if answered.any() else None,
                        recall=self.share(right[true], true) if true.any() else None,
                        f1=self._f1((right, answered, true), [part[:, i] for part in draws]),
                    )
                )
        return found

    def _f1(self, rows: Sequence[NDArray[np.bool_]], draws: Sequence[Floats]) -> Estimate:
        right, size = int(rows[0].sum()), int(rows[1].sum() + rows[2].sum())
        drawn = draws[1] + draws[2]
        low, high = np.quantile((2 * draws[0] / np.maximum(drawn, 1))[drawn > 0], [_TAIL, 1 - _TAIL])
        return Estimate(mean=2 * right / size, low=float(low), high=float(high), n=int((rows[1] | rows[2]).sum()))

    def difference(self, metric: str, contestant: Sequence[str], against: Sequence[str]) -> Estimate:
        """Metric of `contestant` minus that of `against`, on the same rows.

        Shares of rows have a paired score interval. Others have the bootstrap's on the same draws,
        but no narrower than that of the rows where the two part: where they hardly differ the draws
        agree by chance, and would call two models equal that nobody has told apart.
        """
        low, high = self._paired(contestant, against)
        statistic, one, other = self._statistics[metric], self._counts(contestant), self._counts(against)
        mean = float((statistic(one.sum(axis=0)[None]) - statistic(other.sum(axis=0)[None]))[0])
        if metric in _ROWS:
            return Estimate(mean=mean, low=low, high=high, n=len(self.truth))
        drawn = self._interval(mean, statistic(self._resample(one)) - statistic(self._resample(other)))
        if self.task != "classification" and sum(self.discordant(contestant, against)) >= _ENOUGH:
            return drawn  # many items a row: their share varies less than that of whole rows
        half = (high - low) / 2
        return drawn.model_copy(update={"low": min(drawn.low, mean - half), "high": max(drawn.high, mean + half)})

    def share(self, hits: NDArray[np.bool_], of: NDArray[np.bool_] | None = None) -> Estimate:
        """The share of `hits` (one a row, or one for each row of `of`), with a score interval."""
        values = hits.astype(np.float64)
        group_of = np.unique(self._group_of[of] if of is not None else self._group_of, return_inverse=True)[1]
        low, high = share_interval(values.mean(), effective_rows(values, group_of, int(group_of.max()) + 1))
        return Estimate(mean=float(values.mean()), low=low, high=high, n=len(values))

    def discordant(self, contestant: Sequence[str], against: Sequence[str]) -> tuple[int, int]:
        """Rows that only `contestant` has right, and rows that only `against` has."""
        apart = self.right(contestant) - self.right(against)
        return int((apart > 0).sum()), int((apart < 0).sum())

    def _paired(self, contestant: Sequence[str], against: Sequence[str]) -> tuple[float, float]:
        apart = self.right(contestant) - self.right(against)
        share = effective_rows(apart, self._group_of, self._size) / len(apart)
        wins, losses = self.discordant(contestant, against)
        return paired_interval(wins * share, losses * share, len(apart) * share)

    def right(self, answers: Sequence[str]) -> Floats:
        """1 for each row that is exactly right, else 0."""
        return (np.asarray(self.truth) == np.asarray(answers)).astype(np.float64)

    def _shares(self, answers: Sequence[str]) -> dict[str, Floats]:
        """What each row counts (0 or 1) in the metrics that are shares of rows."""
        right, valid = self.right(answers), np.array([answer != "" for answer in answers], dtype=np.float64)
        return {"accuracy": right, "exact_match": right, "valid": valid}

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
        """What is counted of the answers, by group: [groups, columns]."""
        columns, (rows, at) = tally(self.task, self.labels, self.truth, answers)
        counts = np.zeros((self._size, columns))
        np.add.at(counts, (self._group_of[rows], at), 1)
        return counts

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

    @cached_property
    def _statistics(self) -> dict[str, Statistic]:
        return statistics(self.task, self.labels)
