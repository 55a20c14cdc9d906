"""The `data` block: where rows come from, which columns matter, which rows are kept."""

import re
from typing import Annotated, Literal

from pydantic import AfterValidator, Field, model_validator

from supply_chain.recipe.part import Part, ProjectPath

Sha256 = Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]


def _regex(value: str) -> str:
    try:
        groups = re.compile(value).groups
    except re.error as error:
        raise ValueError(f"not a regular expression: {error}") from None
    if groups != 1:
        raise ValueError(f"needs exactly one (group), has {groups}")
    return value


class PackageSource(Part):
    """A file inside a distribution of the configured package index; nothing of it is run."""

    kind: Literal["package"]
    package: Annotated[str, Field(pattern=r"^[A-Za-z0-9._-]+==[A-Za-z0-9._!+-]+$")]
    """Name and exact version: `vaderSentiment==3.3.2`."""
    sha256: Sha256
    """SHA-256 of the distribution file."""
    member: str
    """Path inside it; `!` enters an archive inside the archive."""
    form: Literal["sdist", "wheel"] = "sdist"


class PathSource(Part):
    """A file below the project's root."""

    kind: Literal["path"]
    path: ProjectPath


Source = Annotated[PackageSource | PathSource, Field(discriminator="kind")]


class CsvFormat(Part):
    """Delimited text."""

    kind: Literal["csv"]
    delimiter: Annotated[str, Field(min_length=1, max_length=1)] = ","
    columns: list[str] | None = None
    """Column names when the file has no header line."""
    quoting: bool = True
    """Whether a double quote opens a quoted field."""
    encoding: str = "utf-8"


class JsonlFormat(Part):
    """One JSON object a line."""

    kind: Literal["jsonl"]


Format = Annotated[CsvFormat | JsonlFormat, Field(discriminator="kind")]


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
    """The labels allowed; by default all that occur."""

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


class Rules(Part):
    """Which rows are kept; each rejected row keeps its reason."""

    min_chars: int = Field(1, ge=1)
    max_chars: int = Field(4000, ge=1)
    duplicates: Literal["drop", "keep"] = "drop"
    """Rows with the same text and label after folding case and white space."""
    contradictions: Literal["drop", "keep"] = "drop"
    """Rows with the same text and different labels."""
    min_rows_per_label: int = Field(10, ge=2)


class SplitSpec(Part):
    """Shares of the groups for validation and test; the rest trains."""

    validation: float = Field(0.1, gt=0, lt=0.5)
    test: float = Field(0.2, gt=0, lt=0.5)


class DataSpec(Part):
    """Everything about a specialist's examples."""

    source: Source
    format: Format
    text: str = "text"
    """Column with the input."""
    label: LabelSpec = LabelSpec()
    group: GroupSpec | None = None
    license: str
    """SPDX identifier or name of the data's licence."""
    attribution: str = ""
    rules: Rules = Rules()
    split: SplitSpec = SplitSpec()
