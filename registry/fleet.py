"""The fleet policy: what holds for all specialists together (`recipes/fleet.yaml`)."""

from typing import Annotated

from pydantic import Field

from supply_chain.recipe.load import load_yaml
from supply_chain.recipe.part import Part
from supply_chain.settings import Settings


class Fallback(Part):
    """Who answers when no specialist may or can."""

    name: Annotated[str, Field(pattern=r"^[a-z][a-z0-9_-]{1,60}$")]
    url_env: Annotated[str, Field(pattern=r"^[A-Z][A-Z0-9_]*$")]
    """Environment variable with the URL of an OpenAI-compatible endpoint; the URL itself is never stored."""
    usd_per_1k_requests: float = Field(ge=0)


class Fleet(Part):
    """Policy of one fleet."""

    name: Annotated[str, Field(pattern=r"^[a-z][a-z0-9_-]{1,60}$")]
    fallback: Fallback


def load_fleet(settings: Settings) -> Fleet:
    """`fleet.yaml` of the recipes' folder. Raises InvalidRecipe with all faults, InvalidInput if absent."""
    return load_yaml(settings.recipes / "fleet.yaml", Fleet)
