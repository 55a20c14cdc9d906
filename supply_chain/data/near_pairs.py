"""Pairs of rows that share a key, one partition of keys at a time."""

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import numpy.typing as npt

from supply_chain.data.near_keys import APPROXIMATE, BAND, PARTITION

Ints = npt.NDArray[np.int64]
Pairs = npt.NDArray[np.uint64]
"""Lower row, higher row (32 bits), and one bit for pairs that only a band brought together."""


def gathered(folder: Path, parts: int, family: int, held_out: int, crowded: npt.NDArray[np.bool_]) -> Iterator[Pairs]:
    """Distinct candidates of several partitions at once, since one pair often stands in many.

    More than `family` rows that share all words but one follow a template: they are marked in `crowded`. With
    `held_out`, pairs lie between the first `held_out` rows and the others only.
    """
    waiting: list[Pairs] = []
    for part in range(parts):
        waiting += _pairs(folder / f"{part}.bin", family, held_out, crowded)
        if part == parts - 1 or sum(map(len, waiting)) > PARTITION:
            yield _distinct(np.concatenate([np.empty(0, np.uint64), *waiting]))
            waiting = []


def unpacked(pairs: Pairs) -> tuple[Ints, Ints]:
    """The lower and the higher row of each pair."""
    return (pairs >> np.uint64(33)).astype(np.int64), (pairs >> np.uint64(1) & np.uint64(0xFFFFFFFF)).astype(np.int64)


def _pairs(path: Path, family: int, held_out: int, crowded: npt.NDArray[np.bool_]) -> Iterator[Pairs]:
    keys, packed = np.fromfile(path, dtype=np.uint64).reshape(-1, 2).T
    if not len(keys):
        return
    order = np.argsort(keys)
    keys = keys[order]
    starts = np.flatnonzero(np.concatenate([[True], keys[1:] != keys[:-1]]))
    sizes = np.diff(np.append(starts, len(keys)))
    packed = packed[order[np.repeat(sizes > 1, sizes)]]  # most keys are one row's alone
    sizes = sizes[sizes > 1]
    rows, kind = (packed >> np.uint64(2)).astype(np.int64), packed & np.uint64(3)
    if held_out:
        yield from _across(rows, sizes, held_out)
        return
    crowd = np.repeat(sizes > family, sizes)
    crowded[rows[crowd & (kind == APPROXIMATE)]] = True
    exact = crowd & (kind < APPROXIMATE)
    yield from _to_first(rows[exact], np.repeat(np.arange(len(sizes)), sizes)[exact])
    rows, kind = rows[~crowd], kind[~crowd]
    group = np.repeat(np.arange(len(sizes)), np.where(sizes > family, 0, sizes))
    for step in range(1, family):
        near = np.flatnonzero(group[step:] == group[:-step])
        yield _packed(rows[near], rows[near + step], kind[near] == BAND)


def _to_first(rows: Ints, group: Ints) -> Iterator[Pairs]:
    """Links every row to the lowest of its group; groups stand together."""
    if len(rows):
        starts = np.flatnonzero(np.concatenate([[True], group[1:] != group[:-1]]))
        first = np.repeat(np.minimum.reduceat(rows, starts), np.diff(np.append(starts, len(rows))))
        yield _packed(first, rows)


def _across(rows: Ints, sizes: Ints, held_out: int) -> Iterator[Pairs]:
    """Links every row to the first and the last held-out row of its group; templates are not spared here."""
    if not len(rows):
        return
    starts = np.cumsum(sizes) - sizes
    none = np.iinfo(np.int64).max
    kept = np.where(rows < held_out, rows, none)
    first = np.repeat(np.minimum.reduceat(kept, starts), sizes)
    last = np.repeat(np.maximum.reduceat(np.where(kept == none, -1, kept), starts), sizes)
    for other in (first, last):
        take = (rows >= held_out) & (other >= 0) & (other < held_out)
        yield _packed(other[take], rows[take])


def _packed(one: Ints, other: Ints, band: npt.NDArray[np.bool_] | None = None) -> Pairs:
    differ = one != other
    low, high = np.minimum(one[differ], other[differ]), np.maximum(one[differ], other[differ])
    mark = np.uint64(0) if band is None else band[differ].astype(np.uint64)
    return low.astype(np.uint64) << np.uint64(33) | high.astype(np.uint64) << np.uint64(1) | mark


def _distinct(pairs: Pairs) -> Pairs:
    """Sorted, each once; far faster than `np.unique`."""
    pairs.sort()
    bare = pairs >> np.uint64(1)
    return pairs[np.concatenate([[True], bare[1:] != bare[:-1]])] if len(pairs) else pairs
