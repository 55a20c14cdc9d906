"""Positions of interval bars, in per cent of a common axis, and of the points of plots."""

import math
from collections.abc import Iterable
from dataclasses import dataclass

from evals.estimates import Estimate
from evals.sureness import Confidence, Costs
from evals.table import usd


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

    def span(self, one: float, other: float, mean: float) -> Bar:
        """The place of what lies between two values."""
        start, end = self.at(min(one, other)), self.at(max(one, other))
        return Bar(start, round(end - start, 2), self.at(mean))

    def bar(self, estimate: Estimate) -> Bar:
        """An estimate's place on this axis."""
        start, end = self.at(estimate.low), self.at(estimate.high)
        return Bar(start, round(end - start, 2), self.at(estimate.mean))


@dataclass(frozen=True)
class Plot:
    """Points of a curve and of a rule to compare it with, in the drawing's units; `told` says the same in words."""

    curve: str
    line: str
    dots: list[tuple[float, float]]
    top: str
    across: str
    up: str
    told: str


def reliability_plot(confidence: Confidence) -> Plot:
    """Share of right answers over confidence; the rule is where both agree."""
    points = [(b.confidence, b.right) for b in confidence.bins]
    told = "; ".join(f"confidence {x:.2f}, right {y:.2f}" for x, y in points)
    places = [_place(x, y, 1.0) for x, y in points]
    return Plot(_joined(places), _joined([_place(0, 0, 1), _place(1, 1, 1)]), places, "1", "confidence", "right", told)


def risk_plot(confidence: Confidence) -> Plot:
    """Share of mistakes over the share of rows that are answered; the rule is the promised risk."""
    points = [(p.coverage, p.risk) for p in confidence.curve]
    promise = confidence.kept.promise if confidence.kept else None
    top = max([0.05, *(y for _, y in points), promise.max_risk if promise else 0.0])
    rule = [_place(x, promise.max_risk, top) for x in (0, 1)] if promise else []
    told = "; ".join(f"answering {x:.0%}, wrong {y:.1%}" for x, y in points[:: max(1, len(points) // 8)])
    curve = _joined([_place(x, y, top) for x, y in points])
    return Plot(curve, _joined(rule), [], f"{top:.0%}", "share answered", "wrong", told)


def cost_plot(costs: Costs) -> Plot:
    """Dollars for 1,000 decisions over the share that is kept; the dot is where it was least."""
    points = [(p.coverage, p.usd_per_1k) for p in costs.curve]
    top = max(y for _, y in points) or 1.0
    least = min(points, key=lambda point: point[1])
    told = "; ".join(f"answering {x:.0%}, {usd(y)}" for x, y in points[:: max(1, len(points) // 8)])
    curve = _joined([_place(x, y, top) for x, y in points])
    return Plot(curve, "", [_place(*least, top)], usd(top), "share answered", "cost of 1,000", told)


def _place(x: float, y: float, top: float) -> tuple[float, float]:
    return round(44 + 260 * x, 1), round(200 - 188 * y / top, 1)


def _joined(places: list[tuple[float, float]]) -> str:
    return " ".join(f"{x},{y}" for x, y in places)
