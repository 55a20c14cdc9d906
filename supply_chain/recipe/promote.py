"""The `promote` block: gates, and who must sign."""

from typing import Annotated, Literal

from pydantic import Field

from supply_chain.recipe.part import Part


class Approval(Part):
    """People who must sign before a version may become champion."""

    roles: list[Annotated[str, Field(pattern=r"^[a-z][a-z0-9_-]{0,40}$")]] = Field(min_length=1)
    """One person each: `[domain, risk]`."""
    valid_days: int = Field(30, ge=1, le=3650)
    """A signature counts for so long."""


class Promote(Part):
    """Gates: what a candidate must show before it may become champion."""

    minimum: float = Field(ge=0, le=1)
    """The metric's lower 95% bound must reach this."""
    beats: list[Literal["majority", "tfidf", "static", "base"]] = ["tfidf"]
    """The 95% interval of the difference to each must lie above 0."""
    champion_margin: float = Field(0.01, ge=0, le=1)
    """The candidate's loss against the current champion must stay within this (95%, paired)."""
    generalist_margin: float | None = Field(None, ge=0, le=1, exclude_if=lambda value: value is None)
    """`evaluate.generalist`: the candidate's loss against it must stay within this (95%, paired)."""
    quantization_loss: float = Field(0.02, ge=0, le=1)
    """How much of the metric the format may cost against full precision."""
    slice_minimum: float | None = Field(None, ge=0, le=1)
    """No slice may be shown to lie below this (its upper 95% bound), nor to be worse than the champion (Holm)."""
    min_valid: float | None = Field(None, ge=0, le=1)
    """Written answers: the share that can be read at all (its lower 95% bound) must reach this."""
    min_judged: float | None = Field(None, ge=0, le=1)
    """`evaluate.judge`: the share judged at least as good as the reference (its lower 95% bound) must reach this."""
    min_kappa: float | None = Field(None, ge=-1, le=1)
    """`evaluate.judge.experts`: the judge's agreement with experts (Cohen's kappa, its lower 95% bound) must reach
    this."""
    min_mended: float | None = Field(None, ge=0, le=1)
    """`evaluate.corrections`: the share answered as the experts did must reach this. It is no sample of anything, so
    that the share itself counts."""
    min_outside_caught: float | None = Field(None, ge=0, le=1)
    """`evaluate.out_of_scope`: the share of such rows that is caught (its lower 95% bound) must reach this."""
    max_unscored: float | None = Field(None, ge=0, le=1)
    """Largest share of the rows that may go without a score of the metric; they are left out of every figure."""
    max_drop: float | None = Field(None, ge=0, le=1)
    """No perturbation may cost more of the metric than this (its unfavourable 95% bound)."""
    tasks: dict[str, float] = Field({}, exclude_if=lambda value: not value)
    """`evaluate.tasks`: a metric's unfavourable 95% bound must reach this: `capitals.acc: 0.6`."""
    max_forgetting: float | None = Field(None, ge=0, le=1, exclude_if=lambda value: value is None)
    """Average forgetting, in accuracy on the test sets of earlier champions, may reach this (its upper 95% bound)."""
    max_p95_ms: float | None = Field(None, gt=0)
    max_size_mb: float | None = Field(None, gt=0)
    max_usd_per_1k: float | None = Field(None, gt=0)
    approval: Approval | None = None
    """Without it, passing the gates is enough."""
