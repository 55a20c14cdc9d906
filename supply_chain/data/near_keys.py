"""Keys that near duplicates have in common, written to partitions on disk so that memory stays bounded.

- the letters and digits alone: case, punctuation and spacing do not matter;
- the sum of the words' hashes, whole and with each word taken out: word order does not matter, and a
  word added, dropped or replaced leaves a key in common (a deletion neighbourhood, as SymSpell's);
- bands of MinHash values (Broder 1997) over the words of longer texts: several words may differ.
"""

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import numpy.typing as npt
import polars as pl

from supply_chain.data.near_sketch import MARKS, Sketches

Ints = npt.NDArray[np.int64]
Keys = npt.NDArray[np.uint64]
SQUEEZED, EXACT, APPROXIMATE, BAND = 0, 1, 2, 3
"""Kinds of keys, from strict to loose."""
PARTITION = 6_000_000
_WORD = r"[\p{Han}\p{Hiragana}\p{Katakana}\p{Thai}]|[\p{L}\p{M}\p{N}]+"
_CHUNK = 500_000
"""Bytes of text at a time: their hashes fit a core's cache."""
_FEWEST, _MOST = 4, 32
"""Texts with this many words get a key without each word in turn."""
_LONG = 6
"""Texts with this many words get MinHash bands."""
_BANDS, _ROWS = 8, MARKS // 8
_SALTS = np.random.default_rng(20240229).integers(1, 2**63, size=(_BANDS * _ROWS + _BANDS + 2, 2), dtype=np.uint64)


def folded(texts: pl.Series) -> pl.Series:
    """Lower case, apostrophes removed, every other mark a space."""
    return _joined(texts).str.replace_all(r"[^\p{L}\p{M}\p{N}]+", " ")


def word_hashes(texts: pl.Series) -> tuple[Keys, Ints]:
    """Hashes of all words in order, case and apostrophes ignored, and how many each text has."""
    words = _joined(texts).str.extract_all(_WORD)
    counts = words.list.len().to_numpy().astype(np.int64)
    return words.explode(empty_as_null=False).drop_nulls().hash().to_numpy(), counts


def _joined(texts: pl.Series) -> pl.Series:
    return texts.str.to_lowercase().str.replace_all("['’`]", "")


def write_keys(texts: pl.Series, folder: Path, sketches: Sketches) -> int:
    """Writes partitions `0.bin`, … and fills `sketches`; returns how many partitions there are."""
    parts = max(1, -(-len(texts) * 24 // PARTITION))
    files = [(folder / f"{p}.bin").open("wb") for p in range(parts)]
    try:
        for start, some in _chunks(texts):
            for keys, rows, kind in _keys(some, start, sketches):
                packed = rows.astype(np.uint64) << np.uint64(2) | np.uint64(kind)
                side = keys % np.uint64(parts)
                for p, file in enumerate(files):
                    mine = side == p if parts > 1 else slice(None)
                    np.stack([keys[mine], packed[mine]], axis=1).tofile(file)
    finally:
        for file in files:
            file.close()
    return parts


def _chunks(texts: pl.Series) -> Iterator[tuple[int, pl.Series]]:
    """Runs of texts that are together short, with the number of their first row."""
    start = 0
    read = np.cumsum(texts.str.len_bytes().to_numpy(), dtype=np.int64)
    while start < len(texts):
        most = int(read[start - 1] if start else 0) + _CHUNK
        end = max(start + 1, int(np.searchsorted(read, most, side="right")))
        yield start, texts[start:end]
        start = end


def _keys(texts: pl.Series, start: int, sketches: Sketches) -> Iterator[tuple[Keys, Ints, int]]:
    words = _joined(texts).str.extract_all(_WORD)
    counts = words.list.len().to_numpy().astype(np.int64)
    some = counts > 0
    rows, counts = np.flatnonzero(some) + start, counts[some]
    if not len(rows):
        return
    squeezed = words.list.join("").filter(pl.Series(some))
    yield squeezed.hash().to_numpy() ^ _SALTS[0, 0], rows, SQUEEZED
    hashes = _mix(words.explode(empty_as_null=False).hash().to_numpy(), _SALTS[1])
    sums = np.add.reduceat(hashes, np.cumsum(counts) - counts)
    yield sums, rows, EXACT
    short = (counts >= _FEWEST) & (counts <= _MOST)
    each = np.repeat(short, counts)
    yield np.repeat(sums, counts)[each] - hashes[each], np.repeat(rows, counts)[each], APPROXIMATE
    sketches.add(rows, squeezed, hashes, counts)
    long = counts >= _LONG
    if long.any():
        yield from _bands(hashes[np.repeat(long, counts)], rows[long], counts[long], sketches)


def _bands(hashes: Keys, rows: Ints, counts: Ints, sketches: Sketches) -> Iterator[tuple[Keys, Ints, int]]:
    starts = np.cumsum(counts) - counts
    for band in range(_BANDS):
        key = np.full(len(rows), _SALTS[-1 - band, 0])
        for row in range(_ROWS):
            least: Keys = np.minimum.reduceat(_mix(hashes, _SALTS[2 + band * _ROWS + row]), starts)
            sketches.marks[rows, band * _ROWS + row] = (least >> np.uint64(40)).astype(np.uint8) | np.uint8(1)
            key = _mix(key ^ least, _SALTS[0])
        yield key, rows, BAND


def _mix(values: Keys, salt: Keys) -> Keys:
    mixed = values ^ salt[0]
    mixed *= salt[1] | np.uint64(1)
    mixed ^= mixed >> np.uint64(29)
    return mixed
