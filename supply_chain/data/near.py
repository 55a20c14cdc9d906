"""Finds near duplicates: an index over texts with at most one word changed, then exact comparison.

Three kinds of keys bring two texts together. All are vectorised and partitioned on disk, so memory
stays bounded:

- the letters and digits alone: case, punctuation and spacing do not matter;
- the sum of the words' hashes, whole and with each word taken out: word order does not matter, and a
  word added, dropped or replaced leaves a key in common (a deletion neighbourhood, as SymSpell's);
- bands of MinHash values (Broder 1997) over the words of longer texts: several words may differ.

Every candidate pair is then compared in full, so keys cost recall at most, never precision.
"""

import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
import polars as pl
from rapidfuzz import process
from rapidfuzz.distance import Indel
from scipy.sparse import coo_matrix
from scipy.sparse.csgraph import connected_components

from supply_chain.recipe.rules import NearDuplicates

Ints = npt.NDArray[np.int64]
Keys = npt.NDArray[np.uint64]
Scores = npt.NDArray[np.float32]
Bytes = npt.NDArray[np.uint8]
_WORD = r"[\p{Han}\p{Hiragana}\p{Katakana}\p{Thai}]|[\p{L}\p{M}\p{N}]+"
_CHUNK = 100_000
_PARTITION = 6_000_000
_FEWEST, _MOST = 4, 32
"""Texts with this many words get a key without each word in turn."""
_LONG = 6
"""Texts with this many words get MinHash bands."""
_BANDS, _ROWS = 8, 3
_ROUNDING = 1e-6
_LETTERS = 0.3
"""How much lower the share of letters in common may be than that of words, before words are compared."""
_DOUBT = 0.2
"""How far an estimate from 24 MinHash values may lie below the truth: two standard deviations."""
_SALTS = np.random.default_rng(20240229).integers(1, 2**63, size=(_BANDS * _ROWS + _BANDS + 2, 2), dtype=np.uint64)
_SQUEEZED, _EXACT, _APPROXIMATE, _BAND = 0, 1, 2, 3


@dataclass(frozen=True)
class Links:
    """Pairs of rows that are near duplicates (`left` < `right`), and how alike they are (0 to 1)."""

    left: Ints
    right: Ints
    similarity: Scores

    def clusters(self, rows: int) -> Ints:
        """Each row's cluster, numbered from 1 by first row; 0 for rows without near duplicates."""
        graph = coo_matrix((np.ones(len(self.left), np.int8), (self.left, self.right)), shape=(rows, rows))
        _, parts = connected_components(graph, directed=False)
        linked = np.zeros(rows, dtype=bool)
        linked[self.left] = linked[self.right] = True
        result = np.zeros(rows, dtype=np.int64)
        where = np.flatnonzero(linked)
        _, first, inverse = np.unique(parts[where], return_index=True, return_inverse=True)
        rank = np.empty(len(first), dtype=np.int64)
        rank[np.argsort(first)] = np.arange(1, len(first) + 1)
        result[where] = rank[inverse]
        return result


def near_links(texts: pl.Series, rule: NearDuplicates, scratch: Path | None = None, held_out: int = 0) -> Links:
    """Near duplicates among `texts`; with `held_out`, only between the first `held_out` texts and the others.

    Keys wait in a temporary folder below `scratch`. Time and disk grow linearly with the words.
    """
    sizes = texts.str.len_chars().to_numpy().astype(np.float32)
    found: list[tuple[Keys, Scores]] = []
    with tempfile.TemporaryDirectory(dir=scratch, prefix="keys-") as folder:
        marks = np.zeros((len(texts), _BANDS * _ROWS), dtype=np.uint8)
        parts = _write_keys(texts, Path(folder), marks)
        crowded = np.zeros(len(texts), dtype=bool)
        for pairs in _gathered(Path(folder), parts, rule, held_out, crowded):
            likely = _of_like_words(_of_like_length(pairs, sizes, rule.similarity), marks, rule.similarity)
            found.append(_verified(texts, likely, rule.similarity))
    pairs, scores = np.concatenate([f[0] for f in found]), np.concatenate([f[1] for f in found])
    left, right = _unpacked(pairs)
    spared = (pairs & np.uint64(1) > 0) & crowded[left] & crowded[right]
    pairs, first = np.unique(pairs[~spared] >> np.uint64(1), return_index=True)
    return Links(left[~spared][first], right[~spared][first], scores[~spared][first])


def folded(texts: pl.Series) -> pl.Series:
    """Lower case, apostrophes removed, every other mark a space."""
    return _joined(texts).str.replace_all(r"[^\p{L}\p{M}\p{N}]+", " ")


def _joined(texts: pl.Series) -> pl.Series:
    plain = texts.str.to_lowercase()
    for mark in "'’`":
        plain = plain.str.replace_all(mark, "", literal=True)
    return plain


def _write_keys(texts: pl.Series, folder: Path, marks: Bytes) -> int:
    parts = max(1, -(-len(texts) * 24 // _PARTITION))
    files = [(folder / f"{p}.bin").open("wb") for p in range(parts)]
    try:
        for start in range(0, len(texts), _CHUNK):
            for keys, rows, kind in _keys(texts[start : start + _CHUNK], marks[start : start + _CHUNK]):
                packed = (rows.astype(np.uint64) + np.uint64(start)) << np.uint64(2) | np.uint64(kind)
                side = keys % np.uint64(parts)
                for p, file in enumerate(files):
                    mine = side == p if parts > 1 else slice(None)
                    np.stack([keys[mine], packed[mine]], axis=1).tofile(file)
    finally:
        for file in files:
            file.close()
    return parts


def _keys(texts: pl.Series, marks: Bytes) -> Iterator[tuple[Keys, Ints, int]]:
    rows = np.arange(len(texts))
    words = _joined(texts).str.extract_all(_WORD)
    counts = words.list.len().to_numpy().astype(np.int64)
    yield words.list.join("").hash().to_numpy()[counts > 0] ^ _SALTS[0, 0], rows[counts > 0], _SQUEEZED
    hashes = _mix(words.explode(empty_as_null=False).hash().to_numpy(), _SALTS[1])
    some = counts > 0
    rows, counts = rows[some], counts[some]
    if not len(rows):
        return
    starts = np.concatenate([[0], np.cumsum(counts)[:-1]])
    sums = np.add.reduceat(hashes, starts)
    yield sums, rows, _EXACT
    short = (counts >= _FEWEST) & (counts <= _MOST)
    each = np.repeat(short, counts)
    yield np.repeat(sums, counts)[each] - hashes[each], np.repeat(rows, counts)[each], _APPROXIMATE
    yield from _bands(hashes, rows, counts, marks)


def _bands(hashes: Keys, rows: Ints, counts: Ints, marks: Bytes) -> Iterator[tuple[Keys, Ints, int]]:
    long = counts >= _LONG
    if not long.any():
        return
    values, sizes = hashes[np.repeat(long, counts)], counts[long]
    starts = np.concatenate([[0], np.cumsum(sizes)[:-1]])
    for band in range(_BANDS):
        key = np.full(len(sizes), _SALTS[-1 - band, 0])
        for row in range(_ROWS):
            least: Keys = np.minimum.reduceat(_mix(values, _SALTS[2 + band * _ROWS + row]), starts)
            marks[rows[long], band * _ROWS + row] = (least >> np.uint64(40)).astype(np.uint8) | np.uint8(1)
            key = _mix(key ^ least, _SALTS[0])
        yield key, rows[long], _BAND


def _mix(values: Keys, salt: Keys) -> Keys:
    mixed = (values ^ salt[0]) * (salt[1] | np.uint64(1))
    return mixed ^ (mixed >> np.uint64(29))


def _pairs(
    folder: Path, part: int, rule: NearDuplicates, held_out: int, crowded: npt.NDArray[np.bool_]
) -> Iterator[Keys]:
    """Candidates of one partition; marks in `crowded` the rows that follow a template."""
    keys, packed = np.fromfile(folder / f"{part}.bin", dtype=np.uint64).reshape(-1, 2).T
    order = np.argsort(keys)
    keys, rows = keys[order], (packed[order] >> np.uint64(2)).astype(np.int64)
    kind = packed[order] & np.uint64(3)
    loose = kind >= _APPROXIMATE
    new = np.concatenate([[True], keys[1:] != keys[:-1]])
    group = np.cumsum(new) - 1
    starts = np.flatnonzero(new)
    sizes = np.diff(np.append(starts, len(keys)))
    crowd = sizes[group] > rule.family
    if held_out:
        yield from _across(rows, group, starts, held_out)
        return
    crowded[rows[crowd & (kind == _APPROXIMATE)]] = True
    for step in range(1, rule.family):
        near = np.flatnonzero((group[step:] == group[:-step]) & ~crowd[step:])
        yield _packed(rows[near], rows[near + step], kind[near] == _BAND)
    exact = np.flatnonzero(crowd & ~loose)
    leaders = np.full(len(starts), np.iinfo(np.int64).max)
    np.minimum.at(leaders, group[exact], rows[exact])
    yield _packed(leaders[group[exact]], rows[exact])


def _across(rows: Ints, group: Ints, starts: Ints, held_out: int) -> Iterator[Keys]:
    """Links every row to the first and the last held-out row of its group; templates are not spared here."""
    none = np.iinfo(np.int64).max
    kept = np.where(rows < held_out, rows, none)
    first = np.minimum.reduceat(kept, starts)[group]
    last = np.maximum.reduceat(np.where(kept == none, -1, kept), starts)[group]
    for other in (first, last):
        take = (rows >= held_out) & (other >= 0) & (other < held_out)
        yield _packed(other[take], rows[take])


def _packed(one: Ints, other: Ints, band: npt.NDArray[np.bool_] | None = None) -> Keys:
    """Pairs as numbers: the lower row, the higher row, and one bit for those that only a band brought together."""
    differ = one != other
    low, high = np.minimum(one[differ], other[differ]), np.maximum(one[differ], other[differ])
    mark = np.uint64(0) if band is None else band[differ].astype(np.uint64)
    return low.astype(np.uint64) << np.uint64(33) | high.astype(np.uint64) << np.uint64(1) | mark


def _unpacked(pairs: Keys) -> tuple[Ints, Ints]:
    return (pairs >> np.uint64(33)).astype(np.int64), (pairs >> np.uint64(1) & np.uint64(0xFFFFFFFF)).astype(np.int64)


def _gathered(
    folder: Path, parts: int, rule: NearDuplicates, held_out: int, crowded: npt.NDArray[np.bool_]
) -> Iterator[Keys]:
    """Candidates of several partitions at once, since one pair often stands in many."""
    waiting: list[Keys] = []
    for part in range(parts):
        waiting += _pairs(folder, part, rule, held_out, crowded)
        if part == parts - 1 or sum(map(len, waiting)) > _PARTITION:
            yield _distinct(np.concatenate(waiting))
            waiting = []


def _distinct(pairs: Keys) -> Keys:
    """Sorted, each once; far faster than `np.unique`."""
    pairs.sort()
    bare = pairs >> np.uint64(1)
    return pairs[np.concatenate([[True], bare[1:] != bare[:-1]])] if len(pairs) else pairs


def _of_like_length(pairs: Keys, sizes: Scores, similarity: float) -> Keys:
    """Drops pairs whose lengths alone rule the similarity out, with room for marks that folding removes."""
    left, right = _unpacked(pairs)
    short, long = np.minimum(sizes[left], sizes[right]), np.maximum(sizes[left], sizes[right])
    return pairs[2 * short / (short + long) >= similarity - 0.2]


def _of_like_words(pairs: Keys, marks: Bytes, similarity: float) -> Keys:
    """Drops pairs of long texts whose MinHash values, an estimate of the words shared, rule the similarity out."""
    least = round(marks.shape[1] * (similarity / (2 - similarity) - _DOUBT))
    kept = [pairs[:0]]
    for start in range(0, len(pairs), _CHUNK):
        some = pairs[start : start + _CHUNK]
        left, right = _unpacked(some)
        one, other = marks[left], marks[right]
        known = (one[:, 0] > 0) & (other[:, 0] > 0)
        kept.append(some[~known | ((one == other).sum(axis=1) >= least)])
    return np.concatenate(kept)


def _verified(texts: pl.Series, pairs: Keys, similarity: float) -> tuple[Keys, Scores]:
    scores = np.zeros(len(pairs), dtype=np.float32)
    for start in range(0, len(pairs), _CHUNK):
        left, right = _unpacked(pairs[start : start + _CHUNK])
        rows, where = np.unique(np.concatenate([left, right]), return_inverse=True)
        words = np.empty(len(rows), dtype=object)
        words[:] = [sorted(text.split()) for text in folded(texts.gather(rows)).to_list()]
        plain = np.array([" ".join(w) for w in words], dtype=object)
        one, other = where[: len(left)], where[len(left) :]
        alike = _alike(plain[one], plain[other], similarity - _LETTERS)
        doubt = (alike > 0) & (alike < (1 + similarity) / 2 - _ROUNDING)
        alike[doubt] = _alike(words[one[doubt]], words[other[doubt]], similarity)
        scores[start : start + _CHUNK] = alike
    keep = scores > 0
    return pairs[keep], scores[keep]


def _alike(one: npt.NDArray[np.object_], other: npt.NDArray[np.object_], least: float) -> Scores:
    """Share of words, or letters, in common for each pair; 0 for less than `least`."""
    cutoff = least - _ROUNDING
    return np.asarray(
        process.cpdist(one, other, scorer=Indel.normalized_similarity, score_cutoff=cutoff, dtype=np.float32)
    )
