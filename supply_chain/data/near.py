"""Finds near duplicates: shared keys bring texts together (`near_keys`, `near_pairs`), `near_scores` compares them.

Keys cost recall at most, never precision, since every pair they bring is compared in full.
"""

import tempfile
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
import polars as pl
import scipy  # its parts are loaded when they are first used

from supply_chain.data.near_keys import write_keys
from supply_chain.data.near_pairs import Pairs, gathered, unpacked
from supply_chain.data.near_scores import Scores, likely, verified
from supply_chain.data.near_sketch import Sketches
from supply_chain.recipe.rules import NearDuplicates

Ints = npt.NDArray[np.int64]


@dataclass(frozen=True)
class Links:
    """Pairs of rows that are near duplicates (`left` < `right`), and how alike they are (0 to 1)."""

    left: Ints
    right: Ints
    similarity: Scores

    def clusters(self, rows: int) -> Ints:
        """Each row's cluster, numbered from 1 by first row; 0 for rows without near duplicates."""
        graph = scipy.sparse.coo_matrix((np.ones(len(self.left), np.int8), (self.left, self.right)), shape=(rows, rows))
        _, parts = scipy.sparse.csgraph.connected_components(graph, directed=False)
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
    found: list[tuple[Pairs, Scores]] = []
    with tempfile.TemporaryDirectory(dir=scratch, prefix="keys-") as folder:
        sketches = Sketches(len(texts))
        parts = write_keys(texts, Path(folder), sketches)
        crowded = np.zeros(len(texts), dtype=bool)
        for pairs in gathered(Path(folder), parts, rule.family, held_out, crowded):
            found.append(verified(texts, likely(pairs, sketches, rule.similarity), rule.similarity))
    pairs, scores = np.concatenate([f[0] for f in found]), np.concatenate([f[1] for f in found])
    left, right = unpacked(pairs)
    spared = (pairs & np.uint64(1) > 0) & crowded[left] & crowded[right]
    pairs, first = np.unique(pairs[~spared] >> np.uint64(1), return_index=True)
    return Links(left[~spared][first], right[~spared][first], scores[~spared][first])
