"""The `route` block: which requests a specialist answers, and who answers instead."""

from typing import Literal

from pydantic import Field

from supply_chain.recipe.part import Part

Cause = Literal["error", "timeout", "low_confidence", "context_overflow", "policy"]


class Route(Part):
    """Which requests reach this specialist once it is champion."""

    task: str
    """Name by which callers ask for it."""
    keywords: list[str] = []
    utterances: list[str] = []
    """Requests as callers put them."""
    fallback: str | None = None
    """Who answers instead: a recipe, the fleet's fallback (the default), or `none`: the caller gets an error."""
    fallbacks: dict[Cause, str] = {}
    """Who answers instead for one cause."""
    min_confidence: float | None = Field(None, ge=0, le=1)
    """Below this confidence the answer counts as `low_confidence`."""
    max_hops: int = Field(2, ge=0, le=8)
    """Fallbacks in a row before the caller gets an error."""
