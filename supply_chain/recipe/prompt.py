"""The `prompt` block: how a text is put to the model."""

from typing import Annotated, Literal

from pydantic import AfterValidator, Field

from supply_chain.recipe.jinja import MAX_CHARS, template_faults
from supply_chain.recipe.part import Part


def _template(value: str) -> str:
    faults = template_faults(value)
    if faults:
        raise ValueError("; ".join(faults))
    return value


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


class JinjaPrompt(Part):
    """A Jinja template of `text`, `labels` (as the model writes them) and `shots` (each with `text` and `label`)."""

    kind: Literal["jinja"]
    template: Annotated[str, AfterValidator(_template)] = Field(min_length=1, max_length=MAX_CHARS)
    """Must hold `{{ text }}`; may use if, for over labels or shots, and a few filters (`recipe/jinja.py`)."""
    before_answer: str = Field(" ", max_length=20)
    """What the model writes between the prompt's end and its answer."""
    answers: dict[str, str] = {}
    """What the model writes for a label (or a field's name); by default the label itself."""
    order: list[str] = Field([], exclude_if=lambda value: not value)
    """Extraction: fields in the order in which they are written; the others follow, sorted. A small model learns
    fastest in the order of the text."""


Prompt = Annotated[PlainPrompt | ChatPrompt | JinjaPrompt, Field(discriminator="kind")]
