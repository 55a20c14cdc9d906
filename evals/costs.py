"""What it costs to be choosy: mistakes that are kept against answers that are passed on."""

from collections.abc import Sequence

import numpy as np

from evals.estimate import Bench
from evals.estimates import Estimate
from evals.metrics import Floats
from evals.sureness import CostPoint, Costs
from supply_chain.escalation import Escalation, Stakes

_POINTS = 40


def costs_of(bench: Bench, confidences: Sequence[float], stakes: Stakes, promise: Escalation) -> Costs | None:
    """US dollars by threshold on these rows; None where no cheapest threshold was chosen."""
    if promise.cheapest is None:
        return None
    sure, kept_usd = np.asarray(confidences), np.asarray(stakes.kept_usd)

    def at(threshold: float) -> Estimate:
        return bench.mean(1000 * np.where(sure >= threshold, kept_usd, stakes.passed_on_usd))

    return Costs(
        cheapest=promise.cheapest,
        at_cheapest=at(promise.cheapest.threshold),
        at_promise=at(promise.threshold),
        all_kept=at(0.0),
        passed_on_usd=stakes.passed_on_usd,
        curve=_curve(sure, kept_usd, stakes.passed_on_usd),
    )


def _curve(sure: Floats, kept_usd: Floats, passed_on_usd: float) -> list[CostPoint]:
    order, rows = np.argsort(-sure, kind="stable"), len(sure)
    spent = np.concatenate([[0.0], np.cumsum(kept_usd[order])])
    ends = np.unique(np.linspace(0, rows, min(_POINTS, rows) + 1).round().astype(int))
    return [
        CostPoint(
            coverage=float(k / rows),
            threshold=float(sure[order[k - 1]]) if k else 1.0,
            usd_per_1k=float(1000 * (spent[k] + (rows - k) * passed_on_usd) / rows),
        )
        for k in ends
    ]
