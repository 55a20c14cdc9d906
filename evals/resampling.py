"""Draws of whole groups with replacement, the same for everything that is measured on them."""

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from evals.metrics import Floats

_CELLS = 1 << 22


@dataclass(frozen=True)
class Draws:
    """`resamples` draws of `groups` groups; a seed always gives the same."""

    groups: int
    resamples: int
    seed: int

    def sums(self, table: Floats) -> Floats:
        """Sums over each draw: [groups, columns] to [resamples, columns]."""
        return np.concatenate([weights @ table for weights in self._weights()])

    def _weights(self) -> Iterator[Floats]:
        if self.resamples * self.groups <= _CELLS:
            yield self._few
        else:  # too many to keep: drawn again for each use, from the same seed
            yield from self._draw()

    @cached_property
    def _few(self) -> Floats:
        return np.concatenate(list(self._draw()))

    def _draw(self) -> Iterator[Floats]:
        """How often each group is drawn, in blocks of [resamples, groups]."""
        rng, block = np.random.default_rng(self.seed), max(1, _CELLS // self.groups)
        for start in range(0, self.resamples, block):
            rows = min(block, self.resamples - start)
            drawn = rng.integers(0, self.groups, (rows, self.groups)) + self.groups * np.arange(rows)[:, None]
            yield np.bincount(drawn.ravel(), minlength=rows * self.groups).reshape(rows, -1).astype(np.float64)
