"""What changed between two versions of a data set: rows added, removed and relabelled, and drift."""

import hashlib
from dataclasses import dataclass, field

import numpy as np
import polars as pl
from pydantic import BaseModel, ConfigDict

from supply_chain.data.same import same_text
from supply_chain.data.table import read_batches
from supply_chain.records import Curated
from supply_chain.store import Stored

_SHOWN = 20
_EDGES = [0, 20, 40, 80, 160, 320, 640, 1280, 1 << 62]


class Change(BaseModel):
    """One row that differs: its text (of B, if it is there), and its labels before and after."""

    model_config = ConfigDict(frozen=True)
    text: str
    before: str
    after: str
    place: str
    """File and line."""


class DataDiff(BaseModel):
    """Two data sets compared by their rows' folded texts; lists show up to 20 rows each."""

    model_config = ConfigDict(frozen=True)
    before: str
    after: str
    """Digests."""
    same_rules: bool
    unchanged: int
    added: int
    removed: int
    relabelled: int
    label_drift: float
    """Jensen-Shannon distance (base 2, 0 to 1) between the label distributions."""
    length_drift: float
    """The same for text lengths, in eight ranges of characters."""
    vocabulary_drift: float
    """The same for the words."""
    added_rows: list[Change] = []
    removed_rows: list[Change] = []
    relabelled_rows: list[Change] = []


@dataclass
class _Side:
    labels: dict[bytes, str] = field(default_factory=dict)
    places: dict[bytes, tuple[int, int]] = field(default_factory=dict)
    label_counts: dict[str, int] = field(default_factory=dict)
    lengths: np.ndarray = field(default_factory=lambda: np.zeros(len(_EDGES) - 1))
    words: dict[str, int] = field(default_factory=dict)


def data_diff(a: Stored[Curated], b: Stored[Curated]) -> DataDiff:
    """What B has, lacks and labels otherwise than A; rows are matched by text, not by line."""
    before, after = _read(a), _read(b)
    added = sorted((after.places[k], k) for k in after.labels.keys() - before.labels.keys())
    removed = sorted((before.places[k], k) for k in before.labels.keys() - after.labels.keys())
    common = before.labels.keys() & after.labels.keys()
    relabelled = sorted((after.places[k], k) for k in common if before.labels[k] != after.labels[k])
    rules = [(s.path / "rules.json").read_bytes() for s in (a, b)]
    return DataDiff(
        before=a.digest,
        after=b.digest,
        same_rules=rules[0] == rules[1],
        unchanged=len(common) - len(relabelled),
        added=len(added),
        removed=len(removed),
        relabelled=len(relabelled),
        label_drift=_distance(before.label_counts, after.label_counts),
        length_drift=_distance(dict(enumerate(before.lengths)), dict(enumerate(after.lengths))),
        vocabulary_drift=_distance(before.words, after.words),
        added_rows=_changes(b, [k for _, k in added], before, after),
        removed_rows=_changes(a, [k for _, k in removed], before, after),
        relabelled_rows=_changes(b, [k for _, k in relabelled], before, after),
    )


def _read(curated: Stored[Curated]) -> _Side:
    side = _Side()
    start = 0
    for number, batch in enumerate(read_batches(curated.verify().path / "examples.parquet", ["text", "label"])):
        texts, labels = batch["text"].to_pylist(), batch["label"].to_pylist()
        for offset, (text, label) in enumerate(zip(texts, labels, strict=True)):
            key = _key(text)
            side.labels[key] = label
            side.places[key] = (number, start + offset)
        start += len(texts)
        side.lengths += np.histogram([len(t) for t in texts], bins=_EDGES)[0]
        for label, count in pl.Series("label", labels).value_counts().iter_rows():
            side.label_counts[label] = side.label_counts.get(label, 0) + count
        words = pl.Series("word", texts).str.to_lowercase().str.extract_all(r"[\p{L}\p{N}]+").explode().drop_nulls()
        for word, count in words.value_counts().iter_rows():
            side.words[word] = side.words.get(word, 0) + count
    return side


def _changes(curated: Stored[Curated], keys: list[bytes], before: _Side, after: _Side) -> list[Change]:
    wanted = set(keys[:_SHOWN])
    found: dict[bytes, Change] = {}
    for batch in read_batches(curated.path / "examples.parquet", ["text", "file", "line"]) if wanted else ():
        for row in batch.to_pylist():
            key = _key(row["text"])
            if key in wanted:
                labels = before.labels.get(key, ""), after.labels.get(key, "")
                place = f"{row['file']} line {row['line']}"
                found[key] = Change(text=row["text"], before=labels[0], after=labels[1], place=place)
    return [found[key] for key in keys[:_SHOWN]]


def _key(text: str) -> bytes:
    return hashlib.blake2b(same_text(text).encode(), digest_size=16).digest()


def _distance(one: dict, other: dict) -> float:
    """Jensen-Shannon distance (Lin 1991): the square root of the divergence in bits."""
    names = sorted(one.keys() | other.keys(), key=str)
    p, q = (np.array([side.get(n, 0) for n in names], dtype=float) for side in (one, other))
    if not p.sum() or not q.sum():
        return float(p.sum() != q.sum())
    p, q = p / p.sum(), q / q.sum()
    middle = (p + q) / 2
    divergence = sum(float(np.sum(x[x > 0] * np.log2(x[x > 0] / middle[x > 0]))) for x in (p, q)) / 2
    return round(max(0.0, divergence) ** 0.5, 6)
