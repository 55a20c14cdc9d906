"""When to pass a question on: the confidence below which an answer is not kept, chosen so that a stated risk holds.

Thresholds are tested from the strictest down, each by the exact binomial tail of the mistakes among the rows
it keeps, until one fails: "Learn then Test" with fixed-sequence testing (Angelopoulos et al. 2021,
arXiv:2110.01052, section 2.3; selective prediction: Geifman and El-Yaniv 2017, arXiv:1705.08500). The rows must
have served neither training nor the calibration of the confidences.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from pydantic import BaseModel, ConfigDict, Field

NONE_KEPT = 2.0
_GRID = np.round(np.concatenate([np.arange(0.999, 0.98, -0.001), np.arange(0.98, -0.005, -0.01)]), 3)
_ALL = np.concatenate([[NONE_KEPT], _GRID])
_SPARE = 2
"""A test starts where so many mistakes would still be allowed: one unlucky row shall not end it."""


@dataclass(frozen=True)
class Stakes:
    """US dollars: what each row's answer costs if it is kept, and what any costs that is passed on."""

    kept_usd: Sequence[float]
    passed_on_usd: float
    choose: Literal["most", "cheapest"] = "most"


class Cheapest(BaseModel):
    """The threshold with the least expected cost on the rows that it was chosen on; it promises no risk."""

    model_config = ConfigDict(frozen=True, extra="forbid")
    threshold: float
    usd_per_1k: float
    all_kept_usd_per_1k: float


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
    cheapest: Cheapest | None = Field(None, exclude_if=lambda value: value is None)
    """None where the recipe does not price what is passed on."""

    @property
    def promised(self) -> bool:
        """Whether any threshold could promise the risk."""
        return self.threshold < NONE_KEPT


def choose_threshold(
    confidences: Sequence[float],
    right: Sequence[bool],
    max_risk: float,
    confidence: float = 0.95,
    stakes: Stakes | None = None,
) -> Escalation:
    """The lowest threshold that is tested and found to keep the risk, or the cheapest of them.

    All that pass keep the risk at once, with `confidence`, so that any of them may be chosen by what it costs.
    """
    from scipy.stats import binom  # noqa: PLC0415 (serving never chooses)

    sure, wrong = np.asarray(confidences, dtype=np.float64), ~np.asarray(right, dtype=bool)
    best = Escalation(max_risk=max_risk, confidence=confidence, threshold=NONE_KEPT, rows=len(sure), kept=0, mistakes=0)
    usd = None if stakes is None else _expected_usd(sure, stakes)
    if usd is not None and len(sure):
        cheap = len(usd) - 1 - int(usd[::-1].argmin())
        found_cheapest = Cheapest(
            threshold=float(_ALL[cheap]), usd_per_1k=1000 * float(usd[cheap]), all_kept_usd_per_1k=1000 * float(usd[-1])
        )
        best = best.model_copy(update={"cheapest": found_cheapest})
    above = sure[None] >= _GRID[:, None]
    kept, mistakes = above.sum(axis=1), (above & wrong).sum(axis=1)
    tested = np.flatnonzero(binom.cdf(_SPARE, kept, max_risk) <= 1 - confidence)
    failed = binom.cdf(mistakes[tested], kept[tested], max_risk) > 1 - confidence
    passed = tested[: int(failed.argmax()) if failed.any() else len(tested)]
    if not len(passed):
        return best
    last = passed[-1]
    if usd is not None and stakes is not None and stakes.choose == "cheapest":
        costs = usd[1:][passed]
        last = passed[len(costs) - 1 - int(costs[::-1].argmin())]
    found = {"threshold": float(_GRID[last]), "kept": int(kept[last]), "mistakes": int(mistakes[last])}
    return best.model_copy(update=found)


def _expected_usd(sure: np.ndarray, stakes: Stakes) -> np.ndarray:
    """Mean cost of a row at every threshold of `_ALL`."""
    kept = sure[None] >= _ALL[:, None]
    usd = np.where(kept, np.asarray(stakes.kept_usd, dtype=np.float64)[None], stakes.passed_on_usd)
    return np.asarray(usd.mean(axis=1)) if len(sure) else np.zeros(len(_ALL))
