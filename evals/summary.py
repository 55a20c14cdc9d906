"""The verdict and the contestants as Markdown, for Dagster and MLflow."""

import re

from evals.records import Scorecard, Verdict
from evals.table import contestant_rows, interval, usd
from supply_chain.recipe import Recipe

_MARKS = re.compile(r"([\\`*_\[\]<>|~&])|^([#+=-]|\d+(?=[.)]))")
_SPACE = re.compile(r"\s+")


def summarize(recipe: Recipe, card: Scorecard, verdict: Verdict) -> str:
    """Markdown in which every text of others is escaped."""
    rows = contestant_rows(card)
    candidate = card.contestant(card.candidate)
    assert candidate is not None
    lines = [
        f"## {escape(verdict.headline)}",
        "",
        escape(recipe.description),
        "",
        *(f"- {'✓' if r.passed else '✗'} {escape(r.sentence)}" for r in verdict.reasons),
        "",
        _line(*rows[0]),
        _line("---", *["--:"] * (len(rows[0]) - 1)),
        *(_line(escape(name), *figures) for name, *figures in (row.values() for row in rows)),
        "",
        f"{card.rows:,} test rows in {card.groups:,} groups. 1,000 decisions cost "
        f"{usd(candidate.usd_per_1k.mean)}, a month of {card.kpis.volume_per_month:,} {usd(candidate.usd_per_month)}.",
        "",
        *_differences(card),
        "",
    ]
    return "\n".join(lines)


def escape(text: str) -> str:
    """`text` as one line of Markdown that shows exactly its characters."""
    return _MARKS.sub(_escaped, _SPACE.sub(" ", text).strip())


def _escaped(match: re.Match[str]) -> str:
    mark = match.group()
    return f"&#{ord(mark[0])};{mark[1:]}" if mark[0].isdigit() else f"\\{mark}"


def _differences(card: Scorecard) -> list[str]:
    titles = {c.name: c.title for c in card.contestants}
    return [
        f"- {escape(titles[d.contestant])} minus {escape(titles[d.against])}: {interval(d.estimate, signed=True)}"
        for d in card.differences
    ]


def _line(first: str, *figures: str) -> str:
    return f"| {' | '.join([first, *figures])} |"
