"""How alike two texts are: cheap bounds first, then letters and words in full."""

import numpy as np
import numpy.typing as npt
import polars as pl
from rapidfuzz import process
from rapidfuzz.distance import Indel

from supply_chain.data.near_keys import folded
from supply_chain.data.near_pairs import Pairs, unpacked
from supply_chain.data.near_sketch import Sketches

Scores = npt.NDArray[np.float32]
Objects = npt.NDArray[np.object_]
_CHUNK = 100_000
_ROUNDING = 1e-6
_LETTERS = 0.3
"""How much lower the share of letters in common may be than that of words, before words are compared."""


def likely(pairs: Pairs, sketches: Sketches, similarity: float) -> Pairs:
    """The pairs that their sketches do not rule out."""
    kept = [pairs[:0]]
    for start in range(0, len(pairs), _CHUNK):
        some = pairs[start : start + _CHUNK]
        some = some[sketches.estimated(*unpacked(some), similarity)]
        left, right = unpacked(some)
        letters, words = sketches.letters(left, right) + _ROUNDING, sketches.words(left, right) + _ROUNDING
        may = (letters >= _sure(similarity)) | ((words >= similarity) & (letters >= similarity - _LETTERS))
        kept.append(some[may])
    return np.concatenate(kept)


def _sure(similarity: float) -> float:
    """With this share of letters in common, words are not compared."""
    return (1 + similarity) / 2


def verified(texts: pl.Series, pairs: Pairs, similarity: float) -> tuple[Pairs, Scores]:
    """The pairs that are alike in full, and how much (0 to 1)."""
    scores = np.zeros(len(pairs), dtype=np.float32)
    for start in range(0, len(pairs), _CHUNK):
        left, right = unpacked(pairs[start : start + _CHUNK])
        rows, where = np.unique(np.concatenate([left, right]), return_inverse=True)
        sorted_words = (tuple(sorted(text.split())) for text in folded(texts.gather(rows)).to_list())
        words = np.fromiter(sorted_words, object, len(rows))  # tuples of texts cost the garbage collector nothing
        plain = np.array([" ".join(w) for w in words], dtype=object)
        one, other = where[: len(left)], where[len(left) :]
        alike = _alike(plain[one], plain[other], similarity - _LETTERS)
        doubt = (alike > 0) & (alike < _sure(similarity) - _ROUNDING)
        alike[doubt] = _alike(words[one[doubt]], words[other[doubt]], similarity)
        scores[start : start + _CHUNK] = alike
    keep = scores > 0
    return pairs[keep], scores[keep]


def _alike(one: Objects, other: Objects, least: float) -> Scores:
    """Share of words, or letters, in common for each pair; 0 for less than `least`."""
    cutoff = least - _ROUNDING
    return np.asarray(
        process.cpdist(one, other, scorer=Indel.normalized_similarity, score_cutoff=cutoff, dtype=np.float32)
    )
