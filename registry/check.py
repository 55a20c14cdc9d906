"""One check's outcome, and the words that all checks share."""

import math

from pydantic import BaseModel, ConfigDict

from evals.estimates import Estimate
from evals.metrics import TITLES
from evals.records import Scorecard


class Check(BaseModel):
    """One gate's outcome. `measured` is None where there is no evidence."""

    model_config = ConfigDict(frozen=True, extra="forbid")
    name: str
    passed: bool
    measured: float | None
    required: float | None
    sentence: str


def absent(check: str, contestant: str) -> Check:
    """A check that nothing was measured for: it does not pass."""
    sentence = f"No evidence: {contestant} was not measured on these rows, so the check {check!r} cannot pass."
    return Check(name=check, passed=False, measured=None, required=None, sentence=sentence)


def difference(card: Scorecard, against: str) -> Estimate | None:
    """The paired estimate of candidate minus `against`, if both took part and rows were compared."""
    found = card.difference(card.candidate, against)
    if found is None or found.metric != card.metric or card.contestant(against) is None:
        return None
    return found.estimate if is_measured(found.estimate) else None


def is_measured(found: Estimate) -> bool:
    """Whether rows were asked and every bound is a number."""
    return found.n > 0 and all(map(math.isfinite, (found.mean, found.low, found.high)))


def against(card: Scorecard, name: str, found: Estimate) -> str:
    """The comparison with `name` in words, without its verdict."""
    low = apart(found.low, 0.0, signed=True)
    return (
        f"Against {name}, {TITLES[card.metric]} differs by {found.mean:+.3f} "
        f"(95 % interval {low} to {found.high:+.3f}, paired over {found.n} rows)"
    )


def settled(found: Estimate, limit: float) -> str:
    """Whether a failed check shows that the candidate is worse, or only that too few rows were asked."""
    if found.high < limit:
        return " It is worse: more rows would not change that."
    from evals.intervals import rows_to_settle  # noqa: PLC0415 (scipy: a second)

    rows = rows_to_settle(found.mean, found.low, limit, found.n)
    if rows is None:
        return " The evidence is insufficient, and what was measured lies on the wrong side."
    return f" The evidence is insufficient: about {rows:,} rows would settle it if the figure stayed."


def apart(value: float, limit: float, digits: int = 3, signed: bool = False) -> str:
    """`value` with as many digits as tell it from `limit`: 0.6499 must not read as 0.650."""
    while digits < 9 and value != limit and round(value, digits) == round(limit, digits):
        digits += 1
    return f"{value:{'+' if signed else ''}.{digits}f}"
