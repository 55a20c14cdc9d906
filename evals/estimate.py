"""Estimates with 95 % intervals: of shares of rows by a score interval, of other metrics by a cluster bootstrap.

Sentences of one review are not independent, so whole groups are drawn with replacement
(Davison and Hinkley 1997, Bootstrap Methods and their Application, section 3.8; Field and Welsh
2007, doi:10.1111/j.1467-9868.2007.00593.x). Only per-group counts are resampled, never rows, and
every contestant meets the same draws, which pairs the differences.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from evals.estimates import Estimate
from evals.intervals import effective_rows, paired_interval, share_interval
from evals.metrics import Floats, Statistic, by_label, statistics, tally
from evals.records import LabelScore
from evals.resampling import Draws
from evals.texts import TextRules
from supply_chain.errors import InvalidInput
from supply_chain.recipe.data import Task

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
    ids: Sequence[str] = ()
    texts: TextRules | None = None
    """How written texts are scored; the task `generation` only, which needs the rows' ids, too."""

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
        unscored, found = self.unscored(answers), {}
        for name, statistic in self._statistics.items():
            mean, bound = float(statistic(counts.sum(axis=0)[None])[0]), _TAIL ** (1 / self._size)
            if unscored.get(name):
                found[name] = self._partly(self._interval(mean, statistic(draws)), unscored[name])
                continue
            if mean >= 1:
                found[name] = Estimate(mean=1.0, low=bound, high=1.0, n=len(self.truth))
            elif mean <= 0:
                found[name] = Estimate(mean=0.0, low=0.0, high=1 - bound, n=len(self.truth))
            elif name in rows:
                low, high = share_interval(mean, effective_rows(rows[name], self._group_of, self._size))
                found[name] = Estimate(mean=mean, low=low, high=high, n=len(self.truth))
            else:
                found[name] = self._wide_enough(self._interval(mean, statistic(draws)), rows)
        shares = ("acceptable", "valid") if self.texts else ()
        return found | {name: self.share(rows[name] > 0) for name in shares}

    def _wide_enough(self, drawn: Estimate, rows: dict[str, Floats]) -> Estimate:
        """Draws of few groups may agree by chance: then the interval is as wide as that of the rows that are right."""
        if self.texts is not None and self._size >= _ENOUGH:
            return drawn  # scores of texts vary less than rows that are right or wrong
        right = rows["acceptable" if self.texts else "accuracy"]
        low, high = share_interval(right.mean(), effective_rows(right, self._group_of, self._size))
        if drawn.high - drawn.low >= (high - low) / 2:
            return drawn
        half, mean = (high - low) / 2, drawn.mean
        return drawn.model_copy(update={"low": max(0.0, mean - half), "high": min(1.0, mean + half)})

    def unscored(self, answers: Sequence[str]) -> dict[str, int]:
        """Rows that a metric could not score; only metrics with such rows."""
        return self.texts.unscored(self._table(answers)) if self.texts else {}

    def part(self, mask: NDArray[np.bool_]) -> "Bench":
        """Some of the rows. Raises InvalidInput for rows of one group."""
        sides = (self.truth, self.groups, self.ids or self.truth)
        truth, groups, ids = ([v for v, here in zip(side, mask, strict=True) if here] for side in sides)
        return replace(self, truth=truth, groups=groups, ids=ids)

    @staticmethod
    def _partly(drawn: Estimate, unscored: int) -> Estimate:
        """An estimate over the rows that were scored; over none, it says nothing."""
        scored = drawn.n - unscored
        if not scored:
            return Estimate(mean=0.0, low=0.0, high=1.0, n=0)
        return drawn.model_copy(update={"n": scored})

    def by_label(self, answers: Sequence[str]) -> list[LabelScore]:
        """Precision, recall and F1 of every label (or field) that is true or answered somewhere."""
        if self.texts is not None:
            return []
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
        one, other = self._both(contestant, against)
        statistic = self._statistics[metric]
        mean = float((statistic(one.sum(axis=0)[None]) - statistic(other.sum(axis=0)[None]))[0])
        if metric in _ROWS and self.texts is None:
            return Estimate(mean=mean, low=low, high=high, n=len(self.truth))
        drawn = self._interval(mean, statistic(self._resample(one)) - statistic(self._resample(other)))
        apart = sum(self.discordant(contestant, against)) if self.texts is None else self._size
        if self.task != "classification" and apart >= _ENOUGH:
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
        """1 for each row that is exactly right, else 0; of written texts, for each that is good enough."""
        if self.texts is not None:
            values = self.texts.values(self._table(answers))
            return (np.nan_to_num(values, nan=0.0) >= self.texts.acceptable).astype(np.float64)
        return (np.asarray(self.truth) == np.asarray(answers)).astype(np.float64)

    def _shares(self, answers: Sequence[str]) -> dict[str, Floats]:
        """What each row counts (0 or 1) in the metrics that are shares of rows."""
        right, valid = self.right(answers), np.array([answer != "" for answer in answers], dtype=np.float64)
        if self.texts is not None:
            return {"acceptable": right, "valid": valid}
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

    def _table(self, answers: Sequence[str]) -> Floats:
        """What each row counts, of written texts: [rows, columns]."""
        assert self.texts is not None
        key = tuple(answers)
        if key not in self._tables:
            if len(answers) != len(self.truth):
                raise InvalidInput(f"{len(answers)} answers to {len(self.truth)} rows; expected one for each row")
            self._tables[key] = self.texts.table(self.ids, self.truth, answers)
        return self._tables[key]

    def _both(self, contestant: Sequence[str], against: Sequence[str]) -> tuple[Floats, Floats]:
        """The counts of two contestants, of the rows for which both have some."""
        if self.texts is None:
            return self._counts(contestant), self._counts(against)
        sides = (self._table(contestant), self._table(against))
        gone = np.isnan(sides[0]) | np.isnan(sides[1])
        one, other = (self._grouped(np.where(gone, 0.0, side)) for side in sides)
        return one, other

    def _grouped(self, table: Floats) -> Floats:
        sums = np.zeros((self._size, table.shape[1]))
        np.add.at(sums, self._group_of, table)
        return sums

    def _counts(self, answers: Sequence[str]) -> Floats:
        """What is counted of the answers, by group: [groups, columns]."""
        if self.texts is not None:
            return self._grouped(np.nan_to_num(self._table(answers)))
        columns, (rows, at) = tally(self.task, self.labels, self.truth, answers)
        counts = np.zeros((self._size, columns))
        np.add.at(counts, (self._group_of[rows], at), 1)
        return counts

    def _resample(self, sums: Floats) -> Floats:
        """Sums over each draw of groups: [groups, columns] to [resamples, columns]."""
        return self._draws.sums(sums)

    @cached_property
    def _draws(self) -> Draws:
        return Draws(self._size, self.resamples, self.seed)

    @cached_property
    def _group_of(self) -> NDArray[np.intp]:
        return np.unique(np.asarray(self.groups), return_inverse=True)[1]

    @cached_property
    def _size(self) -> int:
        return len(set(self.groups))

    @cached_property
    def _tables(self) -> dict[tuple[str, ...], Floats]:
        return {}

    @cached_property
    def _statistics(self) -> dict[str, Statistic]:
        return statistics(self.task, self.labels) if self.texts is None else self.texts.statistics()
