"""The measured frontier: quality of every format against its size and its latency."""

from dataclasses import dataclass

from evals.records import Contestant, Scorecard

_LINE, _WORD = 14, 90


@dataclass(frozen=True)
class Dot:
    """One format: its name, its place in the drawing, and whether no other is better in both figures."""

    name: str
    x: float
    y: float
    best: bool
    words: float
    """Where its name stands: above, or below where another name is."""


@dataclass(frozen=True)
class Frontier:
    """Formats by one figure (across) and quality (up); `told` says the same in words."""

    dots: list[Dot]
    left: str
    right: str
    low: str
    high: str
    across: str
    told: str


def frontiers(card: Scorecard) -> list[Frontier]:
    """Quality against size and against the median decision; none where there is nothing to compare."""
    names = [name for hop in card.hops for name in (hop.contestant, hop.against) if name != "base"]
    found = [c for c in card.contestants if c.name in names]
    if len(found) < 2:
        return []
    return [
        _frontier(found, [c.size_bytes / 1e6 for c in found], card.metric, "MB on disk"),
        _frontier(found, [c.p50_ms for c in found], card.metric, "median ms of a decision"),
    ]


def _frontier(found: list[Contestant], figures: list[float], metric: str, across: str) -> Frontier:
    quality = [c.metric(metric).mean for c in found]
    points = list(zip(figures, quality, strict=True))
    room = max(0.01, (max(quality) - min(quality)) * 0.2)
    low, high, most = min(quality) - room, max(quality) + room, max(figures) * 1.1
    dots: list[Dot] = []
    for c, (x, y) in sorted(zip(found, points, strict=True), key=lambda pair: -pair[1][1]):
        across_at, up_at = round(44 + 260 * x / most, 1), round(200 - 188 * (y - low) / (high - low), 1)
        best = not any((a <= x and b > y) or (a < x and b >= y) for a, b in points)
        near = any(abs(d.words - up_at + 8) < _LINE and abs(d.x - across_at) < _WORD for d in dots)
        dots.append(Dot(c.name, across_at, up_at, best, round(up_at + (16 if near else -8), 1)))
    told = "; ".join(f"{c.name}: {x:.4g} {across}, {y:.3f}" for c, (x, y) in zip(found, points, strict=True))
    return Frontier(dots, "0", f"{most:.3g}", f"{low:.3f}", f"{high:.3f}", across, told)
