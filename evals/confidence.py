"""Whether confidences mean what they say, and what is kept at a threshold."""

from collections.abc import Sequence

import numpy as np

from evals.estimate import Bench
from evals.metrics import Floats
from evals.sureness import Confidence, Kept, ReliabilityBin, RiskPoint
from supply_chain.escalation import Escalation

_BINS, _POINTS = 10, 40


def confidence_of(
    bench: Bench, answers: Sequence[str], confidences: Sequence[float], promise: Escalation | None
) -> Confidence:
    """Calibration error, Brier score, reliability bins, risk-coverage curve and the promise kept on these rows.

    Bins hold equally many rows (Nguyen and O'Connor 2015); the expected calibration error is their mean gap
    (Naeini et al. 2015); the Brier score (1950) is that of "this answer is right".
    """
    right = bench.right(answers)
    sure = np.asarray(confidences, dtype=np.float64)
    bins = _bins(sure, right)
    return Confidence(
        calibration_error=sum(b.rows * abs(b.confidence - b.right) for b in bins) / len(sure),
        brier=bench.mean((sure - right) ** 2),
        bins=bins,
        curve=_curve(sure, right),
        kept=None if promise is None else _kept(bench, sure, right, promise),
    )


def _bins(sure: Floats, right: Floats) -> list[ReliabilityBin]:
    order = np.argsort(sure, kind="stable")
    return [
        ReliabilityBin(rows=len(part), confidence=float(sure[part].mean()), right=float(right[part].mean()))
        for part in np.array_split(order, min(_BINS, len(order)))
    ]


def _curve(sure: Floats, right: Floats) -> list[RiskPoint]:
    """Risk of the answers kept, from the surest few to all (El-Yaniv and Wiener 2010)."""
    order = np.argsort(-sure, kind="stable")
    risk = np.cumsum(1 - right[order]) / np.arange(1, len(order) + 1)
    ends = np.unique(np.linspace(1, len(order), min(_POINTS, len(order))).round().astype(int))
    return [
        RiskPoint(coverage=float(k / len(order)), risk=float(risk[k - 1]), threshold=float(sure[order[k - 1]]))
        for k in ends
    ]


def _kept(bench: Bench, sure: Floats, right: Floats, promise: Escalation) -> Kept:
    kept = sure >= promise.threshold
    return Kept(
        promise=promise,
        escalated=bench.share(~kept),
        risk=bench.share((right == 0)[kept], kept) if kept.any() else None,
    )
