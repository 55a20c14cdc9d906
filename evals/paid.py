"""Records of a generalist behind an endpoint: what it was paid, and what it and the candidate come to together."""

from evals.estimates import Estimate, Evidence


class Together(Evidence):
    """The candidate's answers that are sure enough, and the generalist's where they are passed on."""

    escalated: float
    """Share of the rows that are passed on."""
    metric: Estimate
    against_generalist: Estimate
    """The metric of both together minus the generalist's alone, on the same rows."""
    usd_per_1k: Estimate | None
    """Mistakes, the machine and what is passed on; None where nobody prices what is passed on."""


class Generalist(Evidence):
    """The large model that would answer without a specialist."""

    model: str
    rows: int
    unreadable: int
    """Replies that held no answer of the form asked for: they count as wrong."""
    tokens_in: int
    tokens_out: int
    uncounted: int
    """Replies that came without a count of their tokens."""
    usd_per_1k: float | None
    """What 1,000 answers were paid; None where the recipe prices no token, or not all were counted."""
    together: Together | None
    """None where the recipe asks for no escalation."""
