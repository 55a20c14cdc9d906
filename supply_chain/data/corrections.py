"""Expert corrections as rows: read whole, every fault named, and never fewer or other lines than before."""

from collections.abc import Iterator
from datetime import datetime
from hashlib import sha256
from pathlib import Path
from typing import Any, ClassVar

from pydantic import BaseModel, ConfigDict

from supply_chain.data.rows import read_rows
from supply_chain.data.source import Located
from supply_chain.data.table import read_table, write_table
from supply_chain.errors import InvalidInput
from supply_chain.identity import canonical_json, identity
from supply_chain.recipe.sources import JsonlFormat
from supply_chain.records import Reject
from supply_chain.store import Record, Store, Stored

VERSION = 1
_FILE = "corrections.parquet"
_FIELDS = ("text", "label", "who", "when")


class Correction(BaseModel):
    """What an expert says about one text, and where it was read."""

    model_config = ConfigDict(frozen=True)
    text: str
    label: str
    who: str
    when: str
    """ISO 8601."""
    file: str
    line: int


class Corrections(Record):
    """`corrections.parquet`: every line of the source, in its order."""

    kind: ClassVar[str] = "corrections"
    source: str
    source_version: str
    rows: int
    lines_sha256: str
    """Over all lines; a longer file must begin with them."""


def stored_corrections(source: Located, store: Store) -> Stored[Corrections]:
    """The corrections as they stand now.

    Raises InvalidInput that names every faulty line, or when earlier lines were changed or removed.
    """

    def make(folder: Path) -> Corrections:
        rows = _read(source)
        digests = list(_running(rows))
        for before in store.all(Corrections):
            known = before.record
            if known.source == source.name and known.lines_sha256 not in digests[known.rows : known.rows + 1]:
                raise InvalidInput(
                    f"{source.name}: its first {known.rows} lines are not those that were read before. Corrections are "
                    "only appended: restore the file, or put others into a file of another name"
                )
        write_table(folder / _FILE, Correction, rows)
        return Corrections(source=source.name, source_version=source.version, rows=len(rows), lines_sha256=digests[-1])

    return store.once(Corrections, identity("corrections", VERSION, name=source.name, source=source.version), make)


def read_corrections(stored: Stored[Corrections]) -> list[Correction]:
    """All lines, oldest first. Raises CorruptData."""
    return read_table(stored.verify().path / _FILE, Correction)


def _read(source: Located) -> list[Correction]:
    rows, faults = [], []
    for row in read_rows(source, JsonlFormat(kind="jsonl"), list(_FIELDS)):
        if isinstance(row, Reject):
            faults.append(f"line {row.line}: {row.reason} ({row.detail})")
            continue
        found = _faults(row.values)
        if found:
            faults.append(f"line {row.line}: {', '.join(found)}")
        else:
            values = {field: row.values[field].strip() for field in _FIELDS}
            rows.append(Correction(**values, file=row.file, line=row.line))
    if faults:
        shown = "\n".join(f"  {fault}" for fault in faults[:20])
        more = f"\n  and {len(faults) - 20} more" if len(faults) > 20 else ""
        raise InvalidInput(
            f"{source.name}: {len(faults)} faulty lines; each needs text, label, who and when (ISO 8601)\n{shown}{more}"
        )
    return rows


def _faults(values: dict[str, Any]) -> list[str]:
    found = [f"no {field}" for field in _FIELDS if not str(values.get(field) or "").strip()]
    found += [f"{field} is no text" for field in _FIELDS if not isinstance(values.get(field) or "", str)]
    if not found:
        try:
            datetime.fromisoformat(values["when"].strip())
        except ValueError:
            found.append(f"when is {values['when'][:40]!r}")
    return found


def _running(rows: list[Correction]) -> Iterator[str]:
    digest = sha256()
    yield digest.hexdigest()
    for row in rows:
        digest.update(canonical_json({field: getattr(row, field) for field in _FIELDS}).encode())
        yield digest.hexdigest()
