"""The report in a few plain sentences, for those who read no further."""

from collections.abc import Iterator

from evals.metrics import TITLES
from evals.records import Contestant, Scorecard
from evals.table import percent, usd

_RIGHT = ("accuracy", "exact_match", "acceptable")
_FEW = 20
SPOILT = {
    "typos": "letters swapped in some words",
    "upper": "all in capitals",
    "lower": "all in small letters",
    "paraphrase": "other words around the same text",
    "truncated": "only the first half",
    "injection": "an order to answer something else at the end",
}
"""Kinds of perturbed texts in words."""


def in_short(card: Scorecard, candidate: Contestant) -> list[str]:
    """How often it is right, what that costs, what it passes on, and where it is weak."""
    return [*_right(card, candidate), *_costs(card, candidate), *_passed_on(card), *_weak(card)]


def _right(card: Scorecard, candidate: Contestant) -> Iterator[str]:
    name = "acceptable" if card.task == "generation" else next(n for n in _RIGHT if n in candidate.metrics)
    share = candidate.metric(name)
    if share.n:
        yield (
            f"Of 100 requests like these, it answers about {100 * share.mean:.0f} rightly "
            f"({100 * share.low:.0f} to {100 * share.high:.0f} with 95 % confidence)."
        )


def _costs(card: Scorecard, candidate: Contestant) -> Iterator[str]:
    rivals = [("the current champion", "champion"), ("the generalist", "generalist"), ("word counts", "tfidf")]
    found = [(words, card.contestant(name)) for words, name in rivals]
    others = [f"{words} {usd(one.usd_per_month)}" for words, one in found if one is not None and one != candidate]
    besides = f", against {', '.join(others)}" if others else ""
    yield (
        f"A month of {card.kpis.volume_per_month:,} decisions costs {usd(candidate.usd_per_month)}, mistakes "
        f"included{besides}."
    )


def _passed_on(card: Scorecard) -> Iterator[str]:
    kept = card.confidence.kept if card.confidence else None
    if kept is None:
        return
    risk = percent(kept.promise.max_risk)
    if not kept.promise.promised:
        yield f"It cannot promise that at most {risk} of its answers are wrong, so every answer is passed on."
        return
    yield (
        f"It passes on what it is not sure of, {percent(kept.escalated.mean)} of these rows; of the answers it keeps, "
        f"at most {risk} are wrong."
    )


def _weak(card: Scorecard) -> Iterator[str]:
    slices = [(s.estimate.mean, s.name, s.rows) for s in card.slices if s.estimate and s.rows >= _FEW]
    if slices:
        value, name, rows = min(slices)
        yield f"It is weakest on the slice “{name}” ({TITLES[card.metric]} {value:.3f}, {rows:,} rows)."
    drops = [(s.change.mean, s.kind) for s in card.robustness]
    if drops and min(drops)[0] < 0:
        change, kind = min(drops)
        lost = f"{-change:.3f} of {TITLES[card.metric]}"
        yield f"Of texts written otherwise, it loses most on {kind} ({SPOILT[kind]}): {lost}."
