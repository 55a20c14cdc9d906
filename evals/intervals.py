"""Closed intervals and tests for shares of rows, where a bootstrap of few or no mistakes would be too sure."""

import math
from collections.abc import Sequence

import numpy as np
import scipy  # its parts are loaded when they are first used: a second that most commands do without

from evals.metrics import Floats

_LEVEL = 0.95
_FEW = 3.0


def effective_rows(values: Floats, group_of: np.ndarray, groups: int) -> float:
    """How many independent rows say as much about the mean of `values` [rows] as these, which lie in groups.

    The design effect is the groups' variance over that of independent rows (Kish 1965); with few groups
    the number is lowered by the square of Student's over the normal quantile (Korn and Graubard 1998).
    Values that are all equal count once a group.
    """
    n = len(values)
    if groups in {1, n}:
        return float(groups)
    alone = float(((values - values.mean()) ** 2).sum()) / (n * (n - 1))
    if alone == 0:
        return float(groups)
    sums = np.bincount(group_of, weights=values - values.mean(), minlength=groups)
    grouped = groups / (groups - 1) * float((sums**2).sum()) / n**2
    fewer = (scipy.stats.norm.ppf((1 + _LEVEL) / 2) / scipy.stats.t.ppf((1 + _LEVEL) / 2, groups - 1)) ** 2
    return float(n / max(1.0, grouped / alone) * fewer)


def share_interval(share: float, rows: float) -> tuple[float, float]:
    """95 % interval of a share seen in `rows` rows (may be a fraction, see `effective_rows`).

    Wilson's (1927), with the one-sided Poisson limit for up to three rows of one kind, where Wilson's is
    too narrow (Brown, Cai and DasGupta 2001, doi:10.1214/ss/1009213286, section 4.1.1).
    """
    z = float(scipy.stats.norm.ppf((1 + _LEVEL) / 2))
    centre = (share + z * z / (2 * rows)) / (1 + z * z / rows)
    half = z / (1 + z * z / rows) * math.sqrt(share * (1 - share) / rows + z * z / (4 * rows * rows))
    low, high = centre - half, centre + half
    if 0 < share * rows <= _FEW:
        low = min(low, float(scipy.stats.chi2.ppf(1 - _LEVEL, 2 * share * rows)) / (2 * rows))
    if 0 < (1 - share) * rows <= _FEW:
        high = max(high, 1 - float(scipy.stats.chi2.ppf(1 - _LEVEL, 2 * (1 - share) * rows)) / (2 * rows))
    return max(0.0, low), min(1.0, high)


def paired_interval(wins: float, losses: float, rows: float) -> tuple[float, float]:
    """95 % interval of the difference of two shares on the same rows, of which they part in `wins` and `losses`.

    Tango's score interval (1998, doi:10.1002/(SICI)1097-0258(19980430)17:8<891::AID-SIM780>3.0.CO;2-B): it
    has a width even where nobody differs.
    """
    z = float(scipy.stats.norm.ppf((1 + _LEVEL) / 2))
    mean = (wins - losses) / rows

    def distance(difference: float) -> float:
        b = -wins - losses + (2 * rows - wins + losses) * difference
        c = -losses * difference * (1 - difference)
        cell = (math.sqrt(max(0.0, b * b - 8 * rows * c)) - b) / (4 * rows)
        spread = rows * (2 * cell + difference * (1 - difference))
        return (wins - losses - rows * difference) / math.sqrt(max(spread, 1e-300))

    edge = 1 - 1e-9
    low = scipy.optimize.brentq(lambda d: distance(d) - z, -edge, mean) if mean > -edge else -1.0
    high = scipy.optimize.brentq(lambda d: distance(d) + z, mean, edge) if mean < edge else 1.0
    return float(low), float(high)


def mcnemar(wins: int, losses: int) -> float:
    """Two-sided mid-P value that wins and losses are equally likely (Fagerland, Lydersen and Laake 2013)."""
    if wins == losses:
        return 1.0
    few, both = min(wins, losses), wins + losses
    return float(min(1.0, 2 * scipy.stats.binom.cdf(few, both, 0.5) - scipy.stats.binom.pmf(few, both, 0.5)))


def holm(p_values: Sequence[float]) -> list[float]:
    """P values adjusted for having looked at all of them (Holm 1979)."""
    order = sorted(range(len(p_values)), key=p_values.__getitem__)
    adjusted, highest = [0.0] * len(p_values), 0.0
    for rank, i in enumerate(order):
        highest = max(highest, min(1.0, (len(p_values) - rank) * p_values[i]))
        adjusted[i] = highest
    return adjusted


def rows_to_settle(mean: float, bound: float, limit: float, rows: int) -> int | None:
    """How many rows would bring the interval's end `bound` to `limit` if the mean stayed; None if none would."""
    if (mean - limit) * (mean - bound) <= 0:
        return None
    return math.ceil(rows * ((mean - bound) / (mean - limit)) ** 2)
