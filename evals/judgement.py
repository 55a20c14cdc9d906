"""What a judge's verdicts come to on the scorecard's rows."""

from collections.abc import Mapping

import numpy as np

from evals.estimate import Bench
from evals.estimates import Estimate
from evals.judge import Agreed, Court, Judged, agreed, judged, read_scores
from evals.records import Judgement
from supply_chain.recipe import Recipe
from supply_chain.records import Predictions, Splits
from supply_chain.settings import Settings
from supply_chain.store import Store, Stored

Trial = tuple[dict[str, Stored[Judged]], Stored[Agreed] | None]


def try_all(
    recipe: Recipe, splits: Stored[Splits], given: list[Stored[Predictions]], settings: Settings, store: Store
) -> Trial | None:
    """Has the candidate's and the champion's texts judged; None where the recipe names no judge."""
    if recipe.evaluate.judge is None:
        return None
    court = Court(recipe.evaluate.judge, settings, store)
    heard = {"champion", *(scheme.name for scheme in recipe.candidates)}
    found = {p.record.contestant: judged(court, splits, p) for p in given if p.record.contestant in heard}
    return found, agreed(court)


def judgement_of(recipe: Recipe, bench: Bench, trial: Trial, candidate: str) -> Judgement:
    """The share of texts at least as good as the reference, with its interval."""
    heard, agreement = trial
    assert recipe.evaluate.judge is not None
    own, champion = heard[candidate], heard.get("champion")
    scores = read_scores(own)
    return Judgement(
        model=own.record.model,
        criterion=recipe.evaluate.judge.criterion,
        candidate=_mean(bench, scores),
        champion=_mean(bench, read_scores(champion)) if champion else None,
        swayed=own.record.swayed,
        unscored=sum(score is None for score in scores.values()),
        usd=sum(one.record.usd for one in heard.values()),
        agreement=agreement.record.agreement if agreement else None,
    )


def _mean(bench: Bench, scores: Mapping[str, float | None]) -> Estimate:
    values = np.array([np.nan if scores[row] is None else scores[row] for row in bench.ids], dtype=np.float64)
    scored = ~np.isnan(values)
    groups = {group for group, here in zip(bench.groups, scored, strict=True) if here}
    if len(groups) < 2:
        return Estimate(mean=0.0, low=0.0, high=1.0, n=0)
    found = bench.part(scored).mean(values[scored])
    if found.low < found.high:
        return found
    # All verdicts are alike: as wide as the interval of a share that is always seen, not of no width.
    width = 1 - bench.part(scored).share(np.ones(int(scored.sum()), dtype=bool)).low
    low, high = max(0.0, found.mean - width), min(1.0, found.mean + width)
    return found.model_copy(update={"low": low, "high": high})
