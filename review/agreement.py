"""How far two reviewers agree beyond chance: Cohen's kappa (Cohen 1960, doi:10.1177/001316446002000104)."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from evals.estimates import Estimate

_DRAWS, _SEED = 2000, 17


def kappa(one: Sequence[str], other: Sequence[str]) -> Estimate | None:
    """Kappa of two people's labels for the same cases, with a bootstrap interval over cases.

    None for fewer than two cases, or where both gave one and the same label throughout: then chance
    explains everything.
    """
    names = sorted({*one, *other})
    if len(one) < 2 or len(names) < 2:
        return None
    table = np.zeros((1, len(names), len(names)))
    for a, b in zip(one, other, strict=True):
        table[0, names.index(a), names.index(b)] += 1
    shares = (table / len(one)).ravel()
    drawn = np.random.default_rng(_SEED).multinomial(len(one), shares, _DRAWS).reshape(_DRAWS, *table.shape[1:])
    draws = _kappa(drawn)
    low, high = np.quantile(draws[np.isfinite(draws)], [0.025, 0.975])
    return Estimate(mean=float(_kappa(table)[0]), low=float(low), high=float(high), n=len(one))


def _kappa(tables: NDArray[np.generic]) -> NDArray[np.float64]:
    """[draws, labels, labels] counts to [draws]; NaN where chance explains everything."""
    shares = tables / tables.sum(axis=(1, 2), keepdims=True)
    seen = np.trace(shares, axis1=1, axis2=2)
    chance = (shares.sum(axis=1) * shares.sum(axis=2)).sum(axis=1)
    with np.errstate(invalid="ignore", divide="ignore"):
        result: NDArray[np.float64] = np.where(chance < 1, (seen - chance) / (1 - chance), np.nan)
    return result
