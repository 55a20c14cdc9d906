"""The `prompt` block: how a text is put to the model."""

from typing import Annotated, Literal

from pydantic import Field

from supply_chain.recipe.part import Part


class PlainPrompt(Part):
    """Text and answer with the fewest tokens around them."""

    kind: Literal["plain"] = "plain"
    before: str = ""
    after: str = "\nLabel:"
    answers: dict[str, str] = {}
    """What the model writes for a label (or a field's name); by default the label itself."""
    order: list[str] = Field([], exclude_if=lambda value: not value)
    """Extraction: fields in the order in which they are written; the others follow, sorted. A small model learns
    fastest in the order of the text."""


class ChatPrompt(Part):
    """The base model's own chat template, with an instruction as system message."""

    kind: Literal["chat"]
    instruction: str
    answers: dict[str, str] = {}
    """What the model writes for a label (or a field's name); by default the label itself."""
    order: list[str] = Field([], exclude_if=lambda value: not value)
    """Extraction: fields in the order in which they are written; the others follow, sorted. A small model learns
    fastest in the order of the text."""


Prompt = Annotated[PlainPrompt | ChatPrompt, Field(discriminator="kind")]
