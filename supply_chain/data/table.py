"""Records as Parquet files, readable with Hugging Face `datasets`."""

from collections.abc import Sequence
from pathlib import Path
from typing import TypeVar

import pyarrow as pa
import pyarrow.parquet as pq
from pydantic import BaseModel

from supply_chain.errors import CorruptData

M = TypeVar("M", bound=BaseModel)
_TYPES = {str: pa.string(), int: pa.int64(), float: pa.float64(), list[float]: pa.list_(pa.float64())}


def write_table(path: Path, model: type[BaseModel], rows: Sequence[BaseModel]) -> None:
    """Writes `rows` in their order; equal rows give equal bytes."""
    schema = pa.schema([(name, _TYPES[field.annotation]) for name, field in model.model_fields.items()])  # type: ignore[index]
    columns = {name: [getattr(row, name) for row in rows] for name in model.model_fields}
    pq.write_table(pa.table(columns, schema=schema), path, compression="zstd")


def read_table(path: Path, model: type[M]) -> list[M]:
    """The rows of a Parquet file. Raises CorruptData when it is none."""
    try:
        return [model.model_construct(**row) for row in pq.read_table(path).to_pylist()]
    except (pa.ArrowInvalid, OSError) as error:
        raise CorruptData(f"{path} cannot be read: {error}") from error
