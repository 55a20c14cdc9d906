"""Figures as short strings, for the command line, Dagster and the report."""

import math
import re

from evals.estimates import Estimate
from evals.metrics import TITLES
from evals.records import Contestant, Scorecard

_MICRO = 0.005
_NEGATIVE = re.compile(r"(?<![\w.])-(?=\d)")


def contestant_rows(scorecard: Scorecard) -> list[dict[str, str]]:
    """One row of plain strings for each contestant."""
    return [
        {
            "contestant": contestant.title + (" (candidate)" if contestant.name == scorecard.candidate else ""),
            **{f"{TITLES[name]} [95 %]": interval(estimate) for name, estimate in shown(scorecard, contestant)},
            "p50 ms": milliseconds(contestant.p50_ms),
            "p95 ms": milliseconds(contestant.p95_ms),
            "size": size(contestant.size_bytes),
            "$/1,000": usd(contestant.usd_per_1k.mean),
        }
        for contestant in scorecard.contestants
    ]


def shown(scorecard: Scorecard, contestant: Contestant) -> list[tuple[str, Estimate]]:
    """The metrics that tables show: the one that decides, then the others."""
    first = scorecard.metric
    return [(first, contestant.metric(first)), *((n, e) for n, e in contestant.metrics.items() if n != first)]


def interval(estimate: Estimate, signed: bool = False) -> str:
    """`0.712 [0.680, 0.744]`, with signs for differences; of no rows `no evidence`."""
    if not estimate.n:
        return "no evidence"
    form = "+.3f" if signed else ".3f"
    return f"{estimate.mean:{form}} [{estimate.low:{form}}, {estimate.high:{form}}]"


def milliseconds(value: float) -> str:
    """`412`, `8.3`, `0.94` or `< 0.01`."""
    if value < _MICRO:
        return "< 0.01"
    return f"{value:,.0f}" if value >= 100 else f"{value:.1f}" if value >= 1 else f"{value:.2f}"


def size(size_bytes: int) -> str:
    """Decimal units: `112 MB`, `1.5 MB`, `8 B`; a dash for what lies elsewhere."""
    if not size_bytes:
        return "–"
    for unit, factor in (("GB", 10**9), ("MB", 10**6), ("kB", 10**3)):
        if size_bytes >= factor:
            value = size_bytes / factor
            return f"{value:.0f} {unit}" if value >= 100 else f"{value:.1f} {unit}"
    return f"{size_bytes} B"


def usd(value: float) -> str:
    """`$1,234`, `$12.30`, `$0.02`, `$0.0042` or `$0.00024`."""
    if value >= 1000:
        return f"${value:,.0f}"
    whole_cents = abs(value - round(value, 2)) < 1e-9
    if 0 < value < 0.001:
        return f"${value:.{1 - math.floor(math.log10(value))}f}"
    return f"${value:.2f}" if value >= 0.1 or whole_cents else f"${value:.4f}"


def signed_usd(value: float) -> str:
    """`−$12.30` with a minus sign where money is lost."""
    return f"{'−' if value < 0 else ''}{usd(abs(value))}"


def assumed(value: float, name: str) -> str:
    """An assumption as it is called: dollars, a share or a number."""
    if "$" in name:
        return usd(value)
    if name.startswith("Share"):
        return percent(value)
    return f"{value:,.0f}" if value >= 1000 else f"{value:,.4g}"


def minus(sentence: str) -> str:
    """A sentence with minus signs before its negative figures, not hyphens."""
    return _NEGATIVE.sub("−", sentence)


def percent(share: float) -> str:
    """`93 %` that no line break parts; only what is exactly 0 or 1 is shown as such."""
    shown = "< 1" if 0 < share < 0.005 else "> 99" if 0.995 <= share < 1 else f"{100 * share:.0f}"
    return f"{shown} %".replace(" ", "\N{NO-BREAK SPACE}")
