"""Reads a located source row by row; a row that cannot be read becomes a reject."""

import codecs
import csv
import io
import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import orjson
import pyarrow as pa
import pyarrow.parquet as pq

from supply_chain.data.markup import read_markup
from supply_chain.data.source import Located, SourceFile
from supply_chain.errors import InvalidInput
from supply_chain.recipe.sources import CsvFormat, Format, JsonlFormat, MarkupFormat, ParquetFormat
from supply_chain.records import Reject

_LONGEST = 1 << 25
_SAMPLE = 1 << 20
_SURROGATES = re.compile("[\ud800-\udfff]")
_PLAIN = frozenset({str, int, bool, type(None)})
_decode = json.JSONDecoder().decode


@dataclass(slots=True)
class Row:
    """Values by column, and the file and line (from 1; Parquet: the row) where the row starts."""

    values: dict[str, Any]
    line: int
    file: str


def read_rows(source: Located, form: Format | None, columns: list[str]) -> Iterator[Row | Reject]:
    """Every row of `source`. Raises InvalidInput when a column of `columns` is missing from a table."""
    for file in source.files:
        chosen = form or _by_name(file)
        with file.open() as raw:
            if isinstance(chosen, CsvFormat):
                yield from _csv(file.name, raw, chosen, columns)
            elif isinstance(chosen, JsonlFormat):
                yield from _jsonl(file.name, raw, chosen)
            elif isinstance(chosen, MarkupFormat):
                for item in read_markup(file.name, raw, chosen):
                    yield item if isinstance(item, Reject) else Row(item[0], item[1], file.name)
            else:
                yield from _parquet(file.name, raw, columns)


def _by_name(file: SourceFile) -> Format:
    path = Path(file.member or file.path.name)
    kind = (path.with_suffix("") if path.suffix in {".gz", ".bz2", ".xz"} else path).suffix.lower()
    if kind in {".csv", ".tsv"}:
        return CsvFormat(kind="csv", delimiter="\t" if kind == ".tsv" else ",")
    if kind in {".jsonl", ".ndjson"}:
        return JsonlFormat(kind="jsonl")
    if kind == ".parquet":
        return ParquetFormat(kind="parquet")
    raise InvalidInput(f"data.format: {file.name} does not tell its format; state csv, jsonl, parquet or markup")


def _encoding(stated: str, raw: io.BufferedIOBase, name: str) -> str:
    if stated != "auto":
        try:
            return codecs.lookup(stated).name
        except LookupError:
            raise InvalidInput(f"data.format.encoding: {stated!r} is unknown; state another or `auto`") from None
    from charset_normalizer import from_bytes  # noqa: PLC0415

    sample = raw.peek(_SAMPLE)[:_SAMPLE] if isinstance(raw, io.BufferedReader) else b""
    if sample.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
        return "utf-16"
    try:
        codecs.getincrementaldecoder("utf-8")().decode(sample)
    except UnicodeDecodeError:
        best = from_bytes(sample).best()
        if best is None:
            raise InvalidInput(f"{name}: no encoding fits; state data.format.encoding") from None
        return best.encoding
    return "utf-8"


def _csv(name: str, raw: io.BufferedIOBase, form: CsvFormat, columns: list[str]) -> Iterator[Row | Reject]:
    encoding = _encoding(form.encoding, raw, name)
    text = io.TextIOWrapper(raw, encoding, errors="surrogateescape", newline="")  # type: ignore[type-var]
    quoting: Any = csv.QUOTE_MINIMAL if form.quoting else csv.QUOTE_NONE
    reader = csv.reader(text, delimiter=form.delimiter, quoting=quoting, strict=form.quoting)
    names = form.columns or _header(name, reader)
    missing = [c for c in columns if c not in names]
    if missing:
        raise InvalidInput(f"{name}: no column {', '.join(missing)}; found {', '.join(names)[:300] or 'nothing'}")
    while True:
        line = reader.line_num + 1
        try:
            fields = next(reader)
        except StopIteration:
            return
        except csv.Error as error:
            yield _reject(name, line, "malformed", f"{error} (lines {line} to {reader.line_num})", "")
            continue
        except UnicodeError as error:
            yield _reject(name, line, "encoding", f"not {encoding} from here on: {error.args[-1]}", "")
            return
        if not fields:
            continue
        if len(fields) != len(names):
            shown = form.delimiter.join(fields)
            yield _reject(name, line, "malformed", f"{len(fields)} fields, expected {len(names)}", shown)
        elif any(_SURROGATES.search(f) for f in fields if not f.isascii()):
            yield _reject(name, line, "encoding", f"not {encoding}", form.delimiter.join(fields))
        else:
            yield Row(dict(zip(names, fields, strict=True)), line, name)


def _header(name: str, reader: Any) -> list[str]:
    try:
        return [_SURROGATES.sub("?", n.removeprefix("\ufeff")) for n in next(reader, [])]
    except (csv.Error, UnicodeError) as error:
        raise InvalidInput(f"{name}: the header line cannot be read ({error})") from None


def _jsonl(name: str, raw: io.BufferedIOBase, form: JsonlFormat) -> Iterator[Row | Reject]:
    encoding = _encoding(form.encoding, raw, name)
    lines = enumerate(_lines(raw), start=1)
    if encoding.startswith(("utf-16", "utf_16", "utf-32")):
        recoded = io.TextIOWrapper(raw, encoding, errors="replace")  # type: ignore[type-var]
        lines = enumerate((line.encode("utf-8", "replace") for line in recoded), start=1)
        encoding = "utf-8"
    for line, data in lines:
        if data is None:
            yield _reject(name, line, "malformed", f"a line of more than {_LONGEST:,} bytes", "")
            continue
        if not data.strip():
            continue
        try:
            values = _json(data, "utf-8-sig" if line == 1 and encoding == "utf-8" else encoding)
        except UnicodeDecodeError as error:
            yield _reject(name, line, "encoding", f"not {encoding}: {error.reason}", data.decode("utf-8", "replace"))
            continue
        except (ValueError, RecursionError) as error:
            yield _reject(name, line, "malformed", str(error)[:200], data[:2000].decode("utf-8", "replace"))
            continue
        if isinstance(values, dict):
            yield Row(values, line, name)
        else:
            yield _reject(name, line, "malformed", "not a JSON object", data[:2000].decode("utf-8", "replace"))


def _json(data: bytes, encoding: str) -> Any:
    """What the standard library reads, sooner; orjson makes floats of long integers, so floats are read again."""
    if encoding.startswith("utf-8"):
        try:
            values = orjson.loads(data)
            if type(values) is dict and _PLAIN.issuperset(map(type, values.values())):
                return values
        except orjson.JSONDecodeError:
            pass  # the standard library says what is wrong, or takes it: `NaN`, half a surrogate pair
    return _decode(data.decode(encoding).strip())


def _lines(raw: io.BufferedIOBase) -> Iterator[bytes | None]:
    """Lines; None in place of one that is too long to hold."""
    while line := raw.readline(_LONGEST):
        if len(line) < _LONGEST or line.endswith(b"\n"):
            yield line
            continue
        while line and not line.endswith(b"\n"):
            line = raw.readline(_LONGEST)
        yield None


def _parquet(name: str, raw: io.BufferedIOBase, columns: list[str]) -> Iterator[Row | Reject]:
    line = 0
    try:
        file = pq.ParquetFile(pa.PythonFile(raw, mode="r"))
        missing = [c for c in columns if c not in file.schema_arrow.names]
        if missing:
            raise InvalidInput(f"{name}: no column {', '.join(missing)}; found {', '.join(file.schema_arrow.names)}")
        for batch in file.iter_batches(batch_size=10_000, columns=columns):
            for values in batch.to_pylist():
                line += 1
                yield Row(values, line, name)
    except (pa.ArrowException, OSError, UnicodeDecodeError) as error:
        raise InvalidInput(f"{name} is no Parquet file that can be read, after row {line}: {error}") from None


def _reject(name: str, line: int, reason: str, detail: str, text: str) -> Reject:
    shown = text[:500].encode("utf-8", "replace").decode()
    return Reject(reason=reason, detail=detail, text=shown, file=name, line=line)
