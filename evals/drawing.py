"""Positions of interval bars: estimates on one common axis, in per cent of its width."""

import math
from collections.abc import Iterable
from dataclasses import dataclass

from evals.records import Estimate


@dataclass(frozen=True)
class Bar:
    """Where an interval starts, how wide it is and where its mean lies: per cent of the axis."""

    start: float
    width: float
    mean: float


@dataclass(frozen=True)
class Axis:
    """A linear axis from `low` to `high`."""

    low: float
    high: float

    @classmethod
    def around(cls, estimates: Iterable[Estimate], step: float, zero: bool = False) -> "Axis":
        """The smallest axis in whole steps that holds all intervals, and 0 where asked for."""
        found = list(estimates)
        low = min([e.low for e in found] + [e.mean for e in found] + [0.0] * zero)
        high = max([e.high for e in found] + [e.mean for e in found] + [0.0] * zero)
        first, last = math.floor(low / step + 1e-9), math.ceil(high / step - 1e-9)
        return cls(first * step, max(last, first + 1) * step)

    def at(self, value: float) -> float:
        """Per cent of the axis's width, rounded so that equal values give equal text."""
        return round(100 * (value - self.low) / (self.high - self.low), 2)

    def bar(self, estimate: Estimate) -> Bar:
        """An estimate's place on this axis."""
        start, end = self.at(estimate.low), self.at(estimate.high)
        return Bar(start, round(end - start, 2), self.at(estimate.mean))
