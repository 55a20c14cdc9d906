"""The rules that decide which rows are kept. Each rejected row keeps its reason."""

from typing import Annotated, Literal

from pydantic import Field, model_validator

from supply_chain.recipe.part import Part
from supply_chain.recipe.sources import Format, Source

PiiType = Literal["PERSON", "LOCATION", "PHONE", "EMAIL", "CARD", "IBAN", "URL", "IP", "NATIONAL_ID"]
PII_TYPES: tuple[PiiType, ...] = (
    "PERSON", "LOCATION", "PHONE", "EMAIL", "CARD", "IBAN", "URL", "IP", "NATIONAL_ID",
)  # fmt: skip


class NearDuplicates(Part):
    """Texts that differ by case, punctuation, word order, a word, or (long texts) a few words."""

    action: Literal["together", "drop", "keep"] = "together"
    """`together` keeps a cluster on one side of the split; `drop` also keeps only its first row a label."""
    similarity: float = Field(0.8, ge=0.5, le=1)
    """Least share of words (of both texts together) in common, in any order; of letters, half as much may differ."""
    family: int = Field(10, ge=2, le=1000)
    """When more rows than this share all words but one, they follow a template and are no copies."""


class HeldOut(Part):
    """Rows that must not be trained on, such as a public test set. They are never changed or dropped."""

    name: str
    source: Source
    format: Format | None = None
    text: str = "text"
    near: bool = True
    """Whether near duplicates count, not only equal texts."""
    shared_words: int | None = Field(None, ge=3)
    """Rejects texts that share this many words in a row with a held-out text, such as quotations: 13."""
    meaning: float | None = Field(None, gt=0, le=1)
    """Rejects texts whose static embedding has at least this cosine with a held-out one's: 0.9; needs `[noise]`."""


class Language(Part):
    """Texts in other languages are rejected; needs `pip install '.[language]'`."""

    allowed: Annotated[list[str], Field(min_length=1)]
    """ISO 639-1 codes."""
    min_chars: int = Field(20, ge=1)
    """Shorter texts are not judged: identification is unsure there."""
    confidence: float = Field(0.8, gt=0, le=1)
    """Only a verdict this sure rejects."""


class LabelNoise(Part):
    """Confident learning (Northcutt et al. 2021, arXiv:1911.00068); needs `pip install '.[noise]'`.

    Cross-validated on static embeddings, so no row is judged by a model that has seen it.
    """

    action: Literal["flag", "drop"] = "flag"
    share: float | None = Field(None, gt=0, le=0.5)
    """Takes this share of the rows, most suspect first; by default what confident learning finds."""
    folds: int = Field(5, ge=2, le=20)
    max_rows: int = Field(200_000, ge=100)
    """More rows than this are an error: the rule holds all embeddings in memory."""


class Pii(Part):
    """Personal data; needs `pip install '.[pii]'`. Values never reach rejects or reports."""

    action: Literal["redact", "pseudonymize", "drop", "flag"] = "redact"
    types: list[PiiType] = list(PII_TYPES)


class Filter(Part):
    """Rows whose column fails the condition are rejected with the reason `filtered`."""

    column: str
    one_of: list[str] | None = None
    matches: str | None = None
    """Regular expression that must be found."""
    at_least: float | None = None
    at_most: float | None = None

    @model_validator(mode="after")
    def _some_condition(self) -> "Filter":
        if self.one_of is None and self.matches is None and self.at_least is None and self.at_most is None:
            raise ValueError("needs one of one_of, matches, at_least, at_most")
        return self


class Rules(Part):
    """Which rows are kept; each rejected row keeps its reason."""

    min_chars: int = Field(1, ge=1)
    max_chars: int = Field(4000, ge=1)
    filters: list[Filter] = []
    blocked_words: list[str] = []
    """Whole words, such as profanity, that reject a text; case is ignored."""
    language: Language | None = None
    pii: Pii | None = None
    duplicates: Literal["drop", "keep"] = "drop"
    """Rows with the same text and label after folding case and white space."""
    contradictions: Literal["drop", "keep"] = "drop"
    """Rows with the same text and different labels."""
    near_duplicates: NearDuplicates = NearDuplicates()
    decontaminate: list[HeldOut] = []
    label_noise: LabelNoise | None = None
    max_rows_per_label: int | None = Field(None, ge=2)
    """A label's surplus rows are rejected by a seeded draw."""
    max_ratio: float | None = Field(None, ge=1)
    """No label may have more than this many times the rows of the rarest."""
    min_rows_per_label: int = Field(10, ge=2)
