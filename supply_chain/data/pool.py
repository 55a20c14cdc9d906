"""Candidates on disk while the rules look at all of them together: memory holds a few bytes a row."""

from array import array
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import polars as pl
import pyarrow as pa

from supply_chain.data.judge import Candidate
from supply_chain.data.same import key_of, same_text

_BATCH = 50_000
_TEXTS = ("text", "label", "group", "time", "file", "flags", "meta")
_SCHEMA = pa.schema([(n, pa.large_string() if n in _TEXTS else pa.int64()) for n in Candidate._fields])


class Pool:
    """Candidates in reading order. `keys` and `labels` identify each row's folded text and its label.

    Labels that repeat the text, as extracted fields do, are folded too.
    """

    def __init__(self, path: Path, fold_labels: bool = False):
        self.path, self._fold = path, fold_labels
        self._keys, self._labels = array("Q"), array("Q")
        self._columns: list[list[Any]] = [[] for _ in _SCHEMA]
        self._known: dict[str, int] = {}
        self._sink = pa.OSFile(str(path), "wb")
        self._writer = pa.ipc.new_file(self._sink, _SCHEMA)

    def add(self, candidates: list[Candidate]) -> None:
        """Appends rows."""
        self._keys.extend([key_of(same_text(c.text)) for c in candidates])
        self._labels.extend([self._label_key(c.label) for c in candidates])
        for column, values in zip(self._columns, zip(*candidates, strict=True), strict=False):
            column.extend(values)
        if len(self._columns[0]) >= _BATCH:
            self._flush()

    def close(self) -> None:
        """Ends writing; call before anything is read."""
        self._flush()
        self._writer.close()
        self._sink.close()

    def __len__(self) -> int:
        return len(self._keys)

    @property
    def keys(self) -> npt.NDArray[np.uint64]:
        """A hash of each row's folded text."""
        return np.frombuffer(self._keys, dtype=np.uint64) if len(self) else np.empty(0, np.uint64)

    @property
    def labels(self) -> npt.NDArray[np.uint64]:
        """A hash of each row's label."""
        return np.frombuffer(self._labels, dtype=np.uint64) if len(self) else np.empty(0, np.uint64)

    def column(self, name: str) -> pl.Series:
        """One column, memory-mapped."""
        return pl.Series(name, pl.from_arrow(self._table().column(name)))

    def batches(self) -> Iterator[tuple[int, pa.Table]]:
        """Tables of up to 50,000 rows with the number of their first row."""
        start = 0
        for batch in self._table().to_batches():
            yield start, pa.Table.from_batches([batch])
            start += len(batch)

    def _label_key(self, label: str) -> int:
        key = self._known.get(label)
        if key is None:
            key = key_of(label.casefold() if self._fold else label)
            if len(self._known) < 10_000:
                self._known[label] = key
        return key

    def _table(self) -> Any:
        return pa.ipc.open_file(pa.memory_map(str(self.path))).read_all()

    def _flush(self) -> None:
        if self._columns[0]:
            arrays = [pa.array(values, kind) for values, kind in zip(self._columns, _SCHEMA.types, strict=True)]
            self._writer.write_batch(pa.record_batch(arrays, schema=_SCHEMA))
            self._columns = [[] for _ in _SCHEMA]
