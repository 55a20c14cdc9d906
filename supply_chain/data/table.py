"""Records as Parquet files, readable with Hugging Face `datasets`."""

from collections.abc import Iterator, Sequence
from pathlib import Path
from types import TracebackType
from typing import TypeVar

import pyarrow as pa
import pyarrow.parquet as pq
from pydantic import BaseModel

from supply_chain.errors import CorruptData

M = TypeVar("M", bound=BaseModel)
_TYPES = {str: pa.string(), int: pa.int64(), float: pa.float64(), list[float]: pa.list_(pa.float64())}
_GROUP = 50_000


def schema_of(model: type[BaseModel]) -> pa.Schema:
    """The columns of a record's table."""
    return pa.schema([(name, _TYPES[field.annotation]) for name, field in model.model_fields.items()])  # type: ignore[index]


class TableWriter:
    """Writes records in their order, 50,000 at a time; equal rows give equal bytes."""

    def __init__(self, path: Path, model: type[BaseModel]):
        self._schema = schema_of(model)
        self._writer = pq.ParquetWriter(path, self._schema, compression="zstd")
        self._rows: list[BaseModel] = []
        self._tables: list[pa.Table] = []

    def __enter__(self) -> "TableWriter":
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, _t: TracebackType | None) -> None:
        if kind is None:
            self._write_tables(last=True)
        self._writer.close()

    def add(self, row: BaseModel) -> None:
        """Appends one record."""
        self._rows.append(row)
        if len(self._rows) >= _GROUP:
            self._write_tables(last=False)

    def add_table(self, table: pa.Table) -> None:
        """Appends a table of the record's columns."""
        self._tables.append(table)
        if sum(map(len, self._tables)) >= _GROUP:
            self._write_tables(last=False)

    def _write_tables(self, last: bool) -> None:
        if self._rows:
            columns = {name: [getattr(row, name) for row in self._rows] for name in self._schema.names}
            self._tables.append(pa.table(columns, schema=self._schema))
            self._rows = []
        if not self._tables:
            return
        table = pa.concat_tables(self._tables)
        whole = len(table) if last else len(table) // _GROUP * _GROUP
        if whole:
            self._writer.write_table(table.slice(0, whole), row_group_size=_GROUP)
        self._tables = [table.slice(whole)] if whole < len(table) else []


def write_table(path: Path, model: type[BaseModel], rows: Sequence[BaseModel]) -> None:
    """Writes `rows` in their order; equal rows give equal bytes."""
    with TableWriter(path, model) as writer:
        for row in rows:
            writer.add(row)


def read_table(path: Path, model: type[M]) -> list[M]:
    """The rows of a Parquet file. Raises CorruptData when it is none."""
    return [row for table in read_batches(path) for row in (model.model_construct(**r) for r in table.to_pylist())]


def read_batches(path: Path, columns: list[str] | None = None) -> Iterator[pa.RecordBatch]:
    """Batches of up to 50,000 rows. Raises CorruptData when the file cannot be read."""
    try:
        yield from pq.ParquetFile(path).iter_batches(batch_size=_GROUP, columns=columns)
    except (pa.ArrowInvalid, OSError) as error:
        raise CorruptData(f"{path} cannot be read: {error}") from error
