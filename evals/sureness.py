"""Records of how sure a contestant is, and of what follows from passing on what is not sure."""

from typing import Literal

from evals.estimates import Estimate, Evidence
from supply_chain.escalation import Cheapest, Escalation


class ReliabilityBin(Evidence):
    """Rows of like confidence: their mean confidence and the share that is right."""

    rows: int
    confidence: float
    right: float


class RiskPoint(Evidence):
    """Share of mistakes when only the surest `coverage` of the rows are answered."""

    coverage: float
    risk: float
    threshold: float


class Kept(Evidence):
    """What the promise came to on the test rows."""

    promise: Escalation
    escalated: Estimate
    """Share of the rows that are passed on."""
    risk: Estimate | None
    """Share of mistakes among the answers kept; None if none is kept."""

    @property
    def outcome(self) -> Literal["shown", "agrees", "broken"] | None:
        """What the 95 % interval on the test rows says of the promised risk: it lies within, reaches beyond it, or
        lies beyond it altogether. None where nothing is promised or kept."""
        if self.risk is None or not self.promise.promised:
            return None
        if self.risk.low > self.promise.max_risk:
            return "broken"
        return "shown" if self.risk.high <= self.promise.max_risk else "agrees"


class CostPoint(Evidence):
    """US dollars for 1,000 decisions (mistakes, and what is passed on) when only those this sure are kept."""

    coverage: float
    threshold: float
    usd_per_1k: float


class Costs(Evidence):
    """What thresholds cost on the test rows; the machine's time, the same for all, is left out."""

    cheapest: Cheapest
    """As it was chosen on validation rows."""
    at_cheapest: Estimate
    """US dollars for 1,000 decisions."""
    at_promise: Estimate
    all_kept: Estimate
    passed_on_usd: float
    curve: list[CostPoint]


class Outside(Evidence):
    """Questions that are none of the specialist's, told by the label `name`: caught means passed on, or so labelled."""

    name: str
    caught: Estimate | None
    """Share of those rows; None for no rows."""
    mistaken: Estimate | None
    """Share of the other rows that are caught, too; None for no rows."""
    auroc: float | None
    """Probability that a row out of scope looks more so than one in scope, whatever the threshold."""


class Confidence(Evidence):
    """How far the candidate's confidence can be trusted."""

    calibration_error: float
    brier: Estimate
    bins: list[ReliabilityBin]
    curve: list[RiskPoint]
    kept: Kept | None
    """None where the recipe asks for no escalation."""
    costs: Costs | None = None
    """None where the recipe asks for no escalation or does not price what is passed on."""
    outside: Outside | None = None
    """None where the recipe names no label for it."""
