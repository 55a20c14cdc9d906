"""Compares every contestant on the same rows."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from evals.cascade import generalist_of, measured_price
from evals.confidence import confidence_of
from evals.contestant import CHAMPION, SPECIALIST, UNMERGED, Entry, contestant_of, entry_of, rank
from evals.costs import costs_of
from evals.estimate import Bench
from evals.generalist import NAME as GENERALIST
from evals.intervals import holm, mcnemar
from evals.judgement import Trial, judgement_of
from evals.kpi import mistakes_usd
from evals.mended import mended
from evals.outside import outside_of
from evals.predictions import sampled_test
from evals.records import Difference, Forgetting, Mended, Scorecard
from evals.robustness import drops
from evals.slices import score_slices
from evals.stock import stock_scores
from evals.stock_run import StockRun, read_metrics
from evals.sureness import Confidence
from evals.tco import tco
from evals.texts import TextRules
from supply_chain.errors import InvalidInput
from supply_chain.escalation import Stakes
from supply_chain.identity import canonical_json, identity
from supply_chain.pricing import passed_on_usd, pricing
from supply_chain.recipe import Recipe
from supply_chain.recipe.evaluate import Evaluate
from supply_chain.recipe.tasks import Metric
from supply_chain.records import Example, Predictions, Splits
from supply_chain.store import Store, Stored

VERSION = 11


@dataclass(frozen=True)
class Beside:
    """Evidence beside the answers to this test set: a judge's verdicts on texts, and earlier test sets."""

    trial: Trial | None = None
    forgetting: Stored[Forgetting] | None = None
    stock: Sequence[Stored[StockRun]] = ()
    """lm-eval's tasks: the candidate's run and the base's."""


def score(
    recipe: Recipe,
    splits: Stored[Splits],
    predictions: list[Stored[Predictions]],
    candidate: str,
    seed: int,
    store: Store,
    beside: Beside | None = None,
) -> Stored[Scorecard]:
    """Estimates, costs and paired differences of all contestants, and what is known of earlier test sets.

    Raises EvidenceMismatch when predictions are not for these rows, InvalidInput when the
    candidate is missing, a contestant stands twice or a row has no answer.
    """
    names = [p.record.contestant for p in predictions]
    double = [name for name, times in Counter(names).items() if times > 1]
    if candidate not in names or double:
        raise InvalidInput(
            f"a scorecard needs the candidate {candidate!r} and everyone once; found {', '.join(sorted(names))}"
        )
    beside = beside or Beside()
    trial = beside.trial
    key = identity(
        "scorecard",
        VERSION,
        recipe=recipe.name,
        evaluate=recipe.evaluate,
        splits=splits.digest,
        predictions=sorted([p.record.contestant, p.key, p.digest] for p in predictions),
        candidate=candidate,
        seed=seed,
        judged=None if trial is None else [sorted(v.digest for v in trial[0].values()), trial[1] and trial[1].digest],
        **({"forgetting": beside.forgetting.digest} if beside.forgetting else {}),
        **({"stock": [run.digest for run in beside.stock]} if beside.stock else {}),
    )

    def make(folder: Path) -> Scorecard:
        scorecard = _score(recipe, splits, predictions, candidate, seed, beside)
        (folder / "scorecard.json").write_text(canonical_json(scorecard), encoding="utf-8")
        return scorecard

    return store.once(Scorecard, key, make)


def _score(
    recipe: Recipe,
    splits: Stored[Splits],
    predictions: Sequence[Stored[Predictions]],
    candidate: str,
    seed: int,
    beside: Beside,
) -> Scorecard:
    spec, labels = recipe.evaluate, splits.record.labels
    pricing(recipe.task, spec.kpis, labels)  # before anything is measured
    rows = sampled_test(splits.verify(), spec, seed)
    entries = {e.name: e for e in (entry_of(p, splits, rows) for p in sorted(predictions, key=rank))}
    bench = bench_of(recipe, labels, rows, seed)
    generalist = entries.get(GENERALIST)
    price = measured_price(spec, generalist.stored.record if generalist else None)
    confidence = _confidence(bench, entries[candidate], spec, price)
    escalated = confidence.kept.escalated.mean if confidence.kept else 0.0
    return Scorecard(
        recipe=recipe.name,
        task=recipe.task,
        metric=spec.metric,
        candidate=candidate,
        splits_digest=splits.digest,
        labels=labels,
        rows=len(rows),
        groups=len(set(bench.groups)),
        contestants=[contestant_of(entry, bench, recipe) for entry in entries.values()],
        differences=_differences(entries, bench, spec.metric, _pairs(list(entries), candidate)),
        hops=_differences(entries, bench, spec.metric, _hops(list(entries), recipe)),
        by_label=bench.by_label(entries[candidate].answers),
        confusion=_confusion(bench, entries[candidate].answers),
        confidence=confidence,
        robustness=drops(entries[candidate].stored, rows, entries[candidate].answers, bench, spec),
        judgement=judgement_of(recipe, bench, beside.trial, candidate) if beside.trial else None,
        forgetting=beside.forgetting.verify().record if beside.forgetting else None,
        stock=stock_scores(*(read_metrics(run) for run in beside.stock)) if beside.stock else [],
        mended=_mended(spec, entries, candidate),
        slices=score_slices(bench, rows, spec.slices, spec.metric, entries[candidate].answers, _rival(entries)),
        tco=tco(spec.kpis, entries[candidate].stored.record.p50_ms / 1000, escalated, price),
        generalist=generalist_of(bench, spec, generalist.side, entries[candidate].side) if generalist else None,
        kpis=spec.kpis,
    )


def bench_of(recipe: Recipe, labels: list[str], rows: Sequence[Example], seed: int) -> Bench:
    """The rows to measure on, and how this recipe measures."""
    spec, texts = recipe.evaluate, None
    if recipe.task == "generation":
        metrics = tuple(dict.fromkeys([spec.metric, *spec.also]))
        texts = TextRules(metrics, spec.metric, spec.acceptable)
    truth, groups, ids = [r.label for r in rows], [r.group for r in rows], [r.id for r in rows]
    return Bench(truth, groups, labels, spec.resamples, seed, recipe.task, ids, texts)


def _differences(
    entries: dict[str, Entry], bench: Bench, metric: Metric, pairs: Sequence[tuple[str, str]]
) -> list[Difference]:
    parted = [bench.discordant(entries[one].answers, entries[other].answers) for one, other in pairs]
    p_values = holm([mcnemar(*rows) for rows in parted])
    return [
        Difference(
            contestant=one,
            against=other,
            metric=metric,
            estimate=bench.difference(metric, entries[one].answers, entries[other].answers),
            wins=wins,
            losses=losses,
            p_value=p_value,
        )
        for (one, other), (wins, losses), p_value in zip(pairs, parted, p_values, strict=True)
    ]


def _pairs(names: list[str], candidate: str) -> list[tuple[str, str]]:
    pairs = [(candidate, name) for name in names if name != candidate]
    if candidate != SPECIALIST and {SPECIALIST, "tfidf"} <= set(names):
        pairs.append((SPECIALIST, "tfidf"))
    return pairs


def _hops(names: list[str], recipe: Recipe) -> list[tuple[str, str]]:
    """What each step from the base to a format did: the step's outcome against what it was made from.

    Full precision is compared with the adapter where the recipe has it asked, else with the base.
    """
    line = [name for name in ("base", UNMERGED.name, SPECIALIST) if name in names]
    steps = [*zip(line[1:], line, strict=False), *((scheme.name, SPECIALIST) for scheme in recipe.candidates)]
    return [(one, other) for one, other in steps if {one, other} <= set(names)]


def _mended(spec: Evaluate, entries: dict[str, Entry], candidate: str) -> Mended | None:
    if spec.corrections is None:
        return None
    champion = entries.get(CHAMPION)
    return mended(entries[candidate].stored, champion.stored if champion else None)


def _rival(entries: dict[str, Entry]) -> list[str] | None:
    """Whom the candidate is compared with slice by slice."""
    found = entries.get(CHAMPION) or entries.get(SPECIALIST)
    return found.answers if found else None


def _confidence(bench: Bench, entry: Entry, spec: Evaluate, measured_per_1k: float | None) -> Confidence:
    promise, passed_on = entry.stored.record.escalation, passed_on_usd(spec.kpis, measured_per_1k)
    found: dict[str, object] = {}
    if promise is not None and passed_on is not None:
        kept_usd = mistakes_usd(bench, spec.kpis, entry.answers)
        found["costs"] = costs_of(bench, entry.confidences, Stakes(kept_usd.tolist(), passed_on), promise)
    if spec.out_of_scope is not None:
        found["outside"] = outside_of(bench, entry.answers, entry.confidences, spec.out_of_scope, promise)
    return confidence_of(bench, entry.answers, entry.confidences, promise).model_copy(update=found)


def _confusion(bench: Bench, answers: Sequence[str]) -> dict[str, dict[str, int]]:
    if bench.task != "classification":
        return {}
    counts = Counter(zip(bench.truth, answers, strict=True))
    return {t: {a: counts[t, a] for a in bench.labels} for t in bench.labels}
