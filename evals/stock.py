"""What candidate and base show on lm-eval's tasks: records, and figures with their intervals."""

from collections.abc import Sequence

import numpy as np
from pydantic import BaseModel, ConfigDict

from evals.estimates import Estimate, Evidence
from evals.intervals import paired_interval, share_interval

_TAIL = 0.025


class StockMetric(BaseModel):
    """One metric of one task for one model, as lm-eval counts it."""

    model_config = ConfigDict(frozen=True, extra="forbid")
    task: str
    metric: str
    """With the filter's name after a dot where the task has several."""
    higher_is_better: bool
    rows: int
    value: float
    right: list[int]
    """1 or 0 for each row, of a metric that is a share of rows; else empty."""
    draws: list[float]
    """The metric on rows drawn with replacement, the same rows for every model; empty for a share of rows."""

    @property
    def name(self) -> str:
        """What `promote.tasks` calls it."""
        return f"{self.task}.{self.metric}"


class StockScore(Evidence):
    """One metric of one task: the candidate, the base that it was made from, and how they differ."""

    name: str
    higher_is_better: bool
    candidate: Estimate
    base: Estimate
    change: Estimate
    """Candidate minus base, on the same rows."""


def stock_scores(candidate: Sequence[StockMetric], base: Sequence[StockMetric]) -> list[StockScore]:
    """Every metric of every task, paired by its name."""
    before = {one.name: one for one in base}
    return [
        StockScore(
            name=one.name,
            higher_is_better=one.higher_is_better,
            candidate=_estimate(one),
            base=_estimate(before[one.name]),
            change=_change(one, before[one.name]),
        )
        for one in candidate
    ]


def _estimate(one: StockMetric) -> Estimate:
    low, high = share_interval(one.value, one.rows) if one.right else np.quantile(one.draws, [_TAIL, 1 - _TAIL])
    return Estimate(mean=one.value, low=float(low), high=float(high), n=one.rows)


def _change(one: StockMetric, before: StockMetric) -> Estimate:
    if one.right and before.right:
        apart = np.asarray(one.right) - np.asarray(before.right)
        low, high = paired_interval(float((apart > 0).sum()), float((apart < 0).sum()), one.rows)
    else:
        drawn = np.asarray(one.draws) - np.asarray(before.draws)
        low, high = (float(end) for end in np.quantile(drawn, [_TAIL, 1 - _TAIL]))
    return Estimate(mean=one.value - before.value, low=low, high=high, n=one.rows)
