"""Reads a located source row by row; a row that cannot be read becomes a reject."""

import csv
import io
import json
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

from supply_chain.data.source import Located
from supply_chain.errors import InvalidInput
from supply_chain.recipe.data import CsvFormat, Format
from supply_chain.records import Reject


@dataclass(frozen=True)
class Row:
    """Values by column, and the line where the row starts."""

    values: dict[str, object]
    line: int


def read_rows(source: Located, form: Format, columns: list[str]) -> Iterator[Row | Reject]:
    """Every row of `source`. Raises InvalidInput when a column of `columns` is missing."""
    with source.open() as raw:
        yield from _csv(source, raw, form, columns) if isinstance(form, CsvFormat) else _jsonl(source, raw)


def _csv(source: Located, raw: io.BufferedIOBase, form: CsvFormat, columns: list[str]) -> Iterator[Row | Reject]:
    text = io.TextIOWrapper(raw, form.encoding, errors="surrogateescape", newline="")  # type: ignore[type-var]
    quoting: Literal[0, 3] = csv.QUOTE_MINIMAL if form.quoting else csv.QUOTE_NONE
    reader = csv.reader(text, delimiter=form.delimiter, quoting=quoting, strict=form.quoting)
    names = form.columns or [name.removeprefix("\ufeff") for name in next(reader, [])]
    missing = [c for c in columns if c not in names]
    if missing:
        raise InvalidInput(f"{source.name}: no column {', '.join(missing)}; found {', '.join(names) or 'nothing'}")
    while True:
        line = reader.line_num + 1
        try:
            fields = next(reader)
        except StopIteration:
            return
        except csv.Error as error:
            yield Reject(reason="malformed", detail=str(error), text="", file=source.name, line=line)
            continue
        shown = form.delimiter.join(fields)
        if not fields:
            continue
        if _undecodable(shown):
            yield _reject(source, line, "encoding", f"not {form.encoding}", shown)
        elif len(fields) != len(names):
            yield _reject(source, line, "malformed", f"{len(fields)} fields, expected {len(names)}", shown)
        else:
            yield Row(dict(zip(names, fields, strict=True)), line)


def _jsonl(source: Located, raw: io.BufferedIOBase) -> Iterator[Row | Reject]:
    for line, data in enumerate(raw, start=1):
        if not data.strip():
            continue
        try:
            values = json.loads(data.decode("utf-8-sig" if line == 1 else "utf-8"))
        except (ValueError, RecursionError) as error:
            yield _reject(source, line, "malformed", str(error), data.decode("utf-8", "replace"))
            continue
        if isinstance(values, dict):
            yield Row(values, line)
        else:
            yield _reject(source, line, "malformed", "not a JSON object", data.decode())


def _undecodable(text: str) -> bool:
    return any("\udc80" <= char <= "\udcff" for char in text)


def _reject(source: Located, line: int, reason: str, detail: str, text: str) -> Reject:
    shown = text[:500].encode("utf-8", "replace").decode()
    return Reject(reason=reason, detail=detail, text=shown, file=source.name, line=line)
