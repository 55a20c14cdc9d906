"""Sketches of texts, 64 bytes each, that rule out most pairs before any text is read again."""

import numpy as np
import numpy.typing as npt
import polars as pl

Ints = npt.NDArray[np.int64]
Floats = npt.NDArray[np.float32]
Keys = npt.NDArray[np.uint64]
MARKS = 24
"""How many MinHash values a long text has."""
_LANES, _BINS = 2, 16
_UNSPACED = r"[\p{Han}\p{Hiragana}\p{Katakana}\p{Thai}]"
_DOUBT = 0.2
"""How far an estimate from 24 MinHash values may lie below the truth: two standard deviations."""


class Sketches:
    """For each row: which words it has (128 bits), counts of its letters (16 bins), and MinHash values of longer texts.

    The first two give upper bounds that hold for every pair, the last an estimate.
    """

    def __init__(self, rows: int):
        self.marks = np.zeros((rows, MARKS), dtype=np.uint8)
        self._bits = np.zeros((rows, _LANES), dtype=np.uint64)
        self._bins = np.zeros((rows, _BINS), dtype=np.uint8)
        self._words = np.ones(rows, dtype=np.float32)
        self._chars = np.ones(rows, dtype=np.float32)

    def add(self, rows: Ints, squeezed: pl.Series, hashes: Keys, counts: Ints) -> None:
        """Fills `rows`, of which each has a word: their letters, their words' hashes and how many words each has."""
        starts = np.cumsum(counts) - counts
        bit = hashes >> np.uint64(50)
        one = np.uint64(1) << (bit & np.uint64(63))
        for lane in range(_LANES):
            here = np.where(bit >> np.uint64(6) & np.uint64(1) == lane, one, np.uint64(0))
            self._bits[rows, lane] = np.bitwise_or.reduceat(here, starts)
        sizes = squeezed.str.len_chars().to_numpy().astype(np.int64)
        codes = np.frombuffer("".join(squeezed.to_list()).encode("utf-32-le"), dtype=np.uint32) & np.uint32(_BINS - 1)
        places = np.repeat(np.arange(len(rows), dtype=np.uint32) * np.uint32(_BINS), sizes) + codes
        self._bins[rows] = np.bincount(places, minlength=len(rows) * _BINS).clip(max=255).reshape(-1, _BINS)
        self._chars[rows] = sizes + counts - 1
        # Comparison parts words at spaces, so where scripts use none the bits bound nothing.
        self._words[rows] = np.where(squeezed.str.contains(_UNSPACED).to_numpy(), np.inf, counts)

    def letters(self, left: Ints, right: Ints) -> Floats:
        """At most this share of letters is in common."""
        one, other = self._bins[left], self._bins[right]
        apart = (np.maximum(one, other) - np.minimum(one, other)).sum(axis=1, dtype=np.float32)
        return 1 - apart / (self._chars[left] + self._chars[right])

    def words(self, left: Ints, right: Ints) -> Floats:
        """At most this share of words is in common."""
        apart = np.bitwise_count(self._bits[left] ^ self._bits[right]).sum(axis=1, dtype=np.float32)
        return 1 - apart / (self._words[left] + self._words[right])

    def estimated(self, left: Ints, right: Ints, similarity: float) -> npt.NDArray[np.bool_]:
        """Whether MinHash values, where both texts have them, allow this share of words."""
        least = round(MARKS * (similarity / (2 - similarity) - _DOUBT))
        one, other = self.marks[left], self.marks[right]
        known = (one[:, 0] > 0) & (other[:, 0] > 0)
        return ~known | ((one == other).sum(axis=1) >= least)
