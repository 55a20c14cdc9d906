"""The `data` block: where rows come from, which columns matter, which rows are kept."""

import re
from typing import Annotated, Literal

from pydantic import AfterValidator, Field, model_validator

from supply_chain.recipe.part import Part
from supply_chain.recipe.rules import Rules
from supply_chain.recipe.sources import (
    CsvFormat,
    Format,
    HubSource,
    JsonlFormat,
    MarkupFormat,
    PackageSource,
    ParquetFormat,
    PathSource,
    Sha256,
    Source,
    SqlSource,
    UrlSource,
)

__all__ = [
    "Bin", "CsvFormat", "DataSpec", "Format", "GroupSpec", "HubSource", "JsonlFormat", "LabelSpec", "MarkupFormat",
    "PackageSource", "ParquetFormat", "PathSource", "Rules", "Sha256", "Source", "SplitSpec", "SqlSource", "UrlSource",
]  # fmt: skip

Task = Literal["classification", "multilabel", "extraction", "generation"]
Sensitivity = Literal["public", "internal", "confidential", "restricted"]


def _regex(value: str) -> str:
    try:
        groups = re.compile(value).groups
    except re.error as error:
        raise ValueError(f"not a regular expression: {error}") from None
    if groups != 1:
        raise ValueError(f"needs exactly one (group), has {groups}")
    return value


class Bin(Part):
    """One step of a numeric scale; the first bin that fits gives the label."""

    label: str
    up_to: float | None = None
    """Fits values of at most this."""
    below: float | None = None
    """Fits values less than this."""

    def fits(self, value: float) -> bool:
        """Whether `value` belongs to this bin."""
        return (self.up_to is None or value <= self.up_to) and (self.below is None or value < self.below)


class LabelSpec(Part):
    """Which column holds the answer and how its values become labels."""

    column: str = "label"
    bins: list[Bin] | None = None
    """For numeric columns."""
    map: dict[str, str] | None = None
    """For renaming labels; a value that is not listed is rejected."""
    names: list[str] | None = None
    """The labels (extraction: the fields) allowed; by default all that occur."""
    separator: str | None = None
    """Multi-label: splits a text column into labels; without it the column holds a list."""

    @model_validator(mode="after")
    def _one_way(self) -> "LabelSpec":
        if self.bins and self.map:
            raise ValueError("bins and map exclude each other")
        return self


class GroupSpec(Part):
    """Rows that must stay on one side of the split: equal values of a column, or of a part of it."""

    column: str
    pattern: Annotated[str, AfterValidator(_regex)] | None = None
    """Regular expression whose one group is the value: `^([0-9]+)_`."""


class SplitSpec(Part):
    """Shares of the rows for validation and test; the rest trains. Groups stay whole."""

    validation: float = Field(0.1, gt=0, lt=0.5)
    test: float = Field(0.2, gt=0, lt=0.5)
    stratify: bool = True
    """Gives each split each label's share."""
    time: str | None = None
    """Column with ISO dates or numbers: the latest rows test, the earliest train."""


class DataSpec(Part):
    """Everything about a specialist's examples."""

    source: Source
    format: Format | None = None
    """By default from the file's name; snapshots of SQL and hub sources are Parquet."""
    task: Task = "classification"
    """Must equal the recipe's `task`."""
    text: str = "text"
    """Column with the input: a text, or (generation) chat messages that end with the assistant's."""
    label: LabelSpec = LabelSpec()
    """The answer: a label, a list of labels, an object of fields, or a completion."""
    group: GroupSpec | None = None
    metadata: list[str] = Field([], exclude_if=lambda value: not value)
    """Columns kept beside each row for `evaluate.slices`, up to 200 characters of each value. They are kept as they
    are: name none with personal data."""
    license: str
    """SPDX identifier or name of the data's licence."""
    attribution: str = ""
    sensitivity: Sensitivity = "internal"
    """Carried on every record made from the data."""
    zone: str = Field("any", pattern=r"^[a-z0-9-]+$")
    """Where the data, and what is made from it, may be kept: `eu`."""
    rules: Rules = Rules()
    split: SplitSpec = SplitSpec()

    @model_validator(mode="after")
    def _fits_task(self) -> "DataSpec":
        if self.task != "classification" and (self.label.bins or self.rules.label_noise or self.rules.max_ratio):
            raise ValueError(f"label.bins, rules.label_noise and rules.max_ratio need classification, not {self.task}")
        return self
