"""When to pass a question on: the confidence below which an answer is not kept, chosen so that a stated risk holds.

Thresholds are tested from the strictest down, each by the exact binomial tail of the mistakes among the rows
it keeps, until one fails: "Learn then Test" with fixed-sequence testing (Angelopoulos et al. 2021,
arXiv:2110.01052, section 2.3; selective prediction: Geifman and El-Yaniv 2017, arXiv:1705.08500). The rows must
have served neither training nor the calibration of the confidences.
"""

from collections.abc import Sequence

import numpy as np
from pydantic import BaseModel, ConfigDict

NONE_KEPT = 2.0
_GRID = np.round(np.concatenate([np.arange(0.999, 0.98, -0.001), np.arange(0.98, -0.005, -0.01)]), 3)
_SPARE = 2
"""A test starts where so many mistakes would still be allowed: one unlucky row shall not end it."""


class Escalation(BaseModel):
    """Answers less sure than `threshold` are passed on; of those kept, at most `max_risk` are wrong.

    The promise holds with probability `confidence` over the choice of the `rows` that it was made on, of
    which `kept` were kept with `mistakes` wrong. Where no threshold can promise it, none is kept.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")
    max_risk: float
    confidence: float
    threshold: float
    rows: int
    kept: int
    mistakes: int

    @property
    def promised(self) -> bool:
        """Whether any threshold could promise the risk."""
        return self.threshold < NONE_KEPT


def choose_threshold(
    confidences: Sequence[float], right: Sequence[bool], max_risk: float, confidence: float = 0.95
) -> Escalation:
    """The lowest threshold that is tested and found to keep the risk."""
    from scipy.stats import binom  # noqa: PLC0415 (serving never chooses)

    sure, wrong = np.asarray(confidences, dtype=np.float64), ~np.asarray(right, dtype=bool)
    best = Escalation(max_risk=max_risk, confidence=confidence, threshold=NONE_KEPT, rows=len(sure), kept=0, mistakes=0)
    above = sure[None] >= _GRID[:, None]
    kept, mistakes = above.sum(axis=1), (above & wrong).sum(axis=1)
    tested = np.flatnonzero(binom.cdf(_SPARE, kept, max_risk) <= 1 - confidence)
    failed = binom.cdf(mistakes[tested], kept[tested], max_risk) > 1 - confidence
    passed = tested[: int(failed.argmax()) if failed.any() else len(tested)]
    if not len(passed):
        return best
    last = passed[-1]
    found = {"threshold": float(_GRID[last]), "kept": int(kept[last]), "mistakes": int(mistakes[last])}
    return best.model_copy(update=found)
