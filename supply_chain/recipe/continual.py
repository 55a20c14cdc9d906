"""`train.continual` and `train.corrections`: what a training takes over from before, and what experts mended."""

from typing import Annotated

from pydantic import Field

from supply_chain.recipe.part import Part
from supply_chain.recipe.sources import PathSource, UrlSource


class Continual(Part):
    """Goes on from the weights of the recipe's champion; while there is none, training starts from the base.

    Labels that the champion knows stay, even where new data lack them; a head grows by the new ones.
    """

    replay: float = Field(0.2, ge=0, lt=1)
    """Share of the train rows drawn from what the champion and those before it were trained on (experience replay,
    Rolnick et al. 2019, arXiv:1811.11682)."""


class Corrections(Part):
    """Expert corrections: JSON lines with `text`, `label`, `who` and `when` (ISO 8601), only ever appended.

    They join the train rows and replace those of the same text; the last line about a text counts. A
    text that is held out for validation or test stays out.
    """

    source: Annotated[PathSource | UrlSource, Field(discriminator="kind")]
    weight: float = Field(3.0, gt=0, le=100)
    """What one corrected row counts in the loss, in rows. The weights of all rows are scaled to a mean of 1."""


class Continued(Part):
    """What methods share that train the recipe's own weights further."""

    continual: Continual | None = Field(None, exclude_if=lambda value: value is None)
    corrections: Corrections | None = Field(None, exclude_if=lambda value: value is None)
