"""Where rows come from: one variant each, and how their bytes are read."""

import re
from typing import Annotated, Literal

from pydantic import AfterValidator, Field

from supply_chain.recipe.part import Part, ProjectPath

Sha256 = Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]
EnvName = Annotated[str, Field(pattern=r"^[A-Z][A-Z0-9_]*$")]
"""Name of an environment variable; secrets never stand in a recipe."""


def _no_secret(value: str) -> str:
    if re.search(r"://[^/@\s]*:[^/@\s]+@", value):
        raise ValueError("holds a password: put the URL into an environment variable and name it in `url_env`")
    return value


def _ordered(value: str) -> str:
    if not re.search(r"\border\s+by\b", value, re.IGNORECASE):
        raise ValueError("needs ORDER BY: without it the same rows may come in another order and look like new data")
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
    """A file, folder or archive below the project's root."""

    kind: Literal["path"]
    path: ProjectPath
    pattern: str = "**/*"
    """Which files of a folder, or members of an archive (`member: null`): `2026-*/*.jsonl`."""
    member: str | None = None
    """One path inside an archive; `!` enters an archive inside the archive."""


class UrlSource(Part):
    """A file at any fsspec URL (`s3://…`, `gs://…`, `https://…`); credentials come from the environment.

    `file://…` must lie below the project's root, as every path.
    """

    kind: Literal["url"]
    url: Annotated[str, AfterValidator(_no_secret)]
    sha256: Sha256 | None = None
    """When stated, other bytes are refused and an earlier download is used again."""
    pattern: str = "**/*"
    member: str | None = None


class SqlSource(Part):
    """Rows of a query through SQLAlchemy, kept as a snapshot."""

    kind: Literal["sql"]
    url_env: EnvName
    """Environment variable with the SQLAlchemy URL: `postgresql+psycopg2://…`."""
    query: Annotated[str, AfterValidator(_ordered)]


class HubSource(Part):
    """A Hugging Face data set: an id on the hub, or a folder written by `save_to_disk`."""

    kind: Literal["hub"]
    dataset: str | None = None
    path: ProjectPath | None = None
    revision: str | None = None
    """Commit on the hub; required with `dataset`."""
    config: str | None = None
    split: str = "train"


Source = Annotated[PackageSource | PathSource | UrlSource | SqlSource | HubSource, Field(discriminator="kind")]


def is_pinned(source: Source) -> bool:
    """Whether the recipe itself names the bytes, so that they never change."""
    return isinstance(source, PackageSource) or (isinstance(source, UrlSource) and source.sha256 is not None)


class CsvFormat(Part):
    """Delimited text."""

    kind: Literal["csv"]
    delimiter: Annotated[str, Field(min_length=1, max_length=1)] = ","
    columns: list[str] | None = None
    """Column names when the file has no header line."""
    quoting: bool = True
    """Whether a double quote opens a quoted field."""
    encoding: str = "utf-8"
    """`auto` detects it from the first MiB."""


class JsonlFormat(Part):
    """One JSON object a line."""

    kind: Literal["jsonl"]
    encoding: str = "utf-8"
    """`auto` detects it from the first MiB."""


class ParquetFormat(Part):
    """Parquet files."""

    kind: Literal["parquet"]


class MarkupFormat(Part):
    """XML in which each item is a text whose labelled parts are marked: `<A><City>Rome</City>, IT</A>`.

    Gives the columns `text` and `fields` (a JSON object; parts with one tag are joined by a space).
    """

    kind: Literal["markup"]
    item: str
    """Tag of an item."""
    strip: str = ""
    """Characters removed from both ends of a field's value."""


Format = Annotated[CsvFormat | JsonlFormat | ParquetFormat | MarkupFormat, Field(discriminator="kind")]
