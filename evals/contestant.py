"""One contestant of a scorecard: its answers in the rows' order, its figures and what it is called."""

from collections.abc import Sequence
from dataclasses import dataclass

from evals.cascade import Side, measured_price
from evals.estimate import Bench
from evals.generalist import NAME as GENERALIST
from evals.kpi import machine_usd, usd_per_1k, usd_per_month
from evals.predictions import read_predictions
from evals.records import Contestant, Prediction
from supply_chain.errors import EvidenceMismatch
from supply_chain.recipe import Recipe
from supply_chain.recipe.quantize import Adapter
from supply_chain.records import Example, Predictions, Splits
from supply_chain.store import Stored

SPECIALIST, CHAMPION, UNMERGED = "specialist", "champion", Adapter(scheme="adapter")
_TITLES = {
    "majority": "Always the most frequent answer",
    "tfidf": "Word counts and a linear model",
    "static": "Static embeddings and a linear model",
    "base": "Base model, not trained",
    GENERALIST: "Generalist",
    UNMERGED.name: UNMERGED.title,
    SPECIALIST: "Specialist, full precision",
    CHAMPION: "Current champion",
}


@dataclass(frozen=True)
class Entry:
    """One contestant's stored predictions and its answers in the rows' order."""

    stored: Stored[Predictions]
    answers: list[str]
    confidences: list[float]

    @property
    def name(self) -> str:
        """The contestant."""
        return self.stored.record.contestant

    @property
    def side(self) -> Side:
        """The same, without the store."""
        return Side(self.stored.record, self.answers, self.confidences)


def rank(stored: Stored[Predictions]) -> tuple[int, str]:
    """Where a contestant stands in tables: baselines first, formats last."""
    name, order = stored.record.contestant, list(_TITLES)
    return (order.index(name) if name in order else len(order), name)


def entry_of(stored: Stored[Predictions], splits: Stored[Splits], rows: Sequence[Example]) -> Entry:
    """The answers to `rows`. Raises EvidenceMismatch when they are not to these rows of these splits."""
    name = stored.record.contestant
    if stored.record.splits_digest != splits.digest:
        raise EvidenceMismatch(
            f"{name} answered the splits {stored.record.splits_digest[:12]}, expected {splits.digest[:12]}; "
            "evaluate it on these splits"
        )
    by_id: dict[str, Prediction] = {p.id: p for p in read_predictions(stored.verify())}
    strange = [r.id for r in rows if r.id not in by_id] + sorted(by_id.keys() - {r.id for r in rows})
    if strange:
        raise EvidenceMismatch(
            f"{name} answered {len(by_id)} rows, expected the same {len(rows)} as everyone; "
            f"rows that differ: {', '.join(strange[:5])}. Evaluate all contestants with the same max_rows and seed"
        )
    changed = [r.id for r in rows if (by_id[r.id].label, by_id[r.id].group) != (r.label, r.group)]
    if changed:
        raise EvidenceMismatch(f"{name}: truth or group of rows {', '.join(changed[:5])} is not that of the splits")
    return Entry(stored, [by_id[r.id].answer for r in rows], [by_id[r.id].confidence for r in rows])


def contestant_of(entry: Entry, bench: Bench, recipe: Recipe) -> Contestant:
    """What a contestant showed, and what its decisions cost."""
    record, kpis = entry.stored.record, recipe.evaluate.kpis
    own_usd = machine_usd(kpis, record.p50_ms / 1000)
    if record.paid is not None:
        price = measured_price(recipe.evaluate, record)
        own_usd = (kpis.generalist_usd_per_1k or 0.0 if price is None else price) / 1000
    per_1k = usd_per_1k(bench, kpis, entry.answers, own_usd)
    return Contestant(
        name=entry.name,
        title=_title(record, recipe),
        model_digest=record.model_digest,
        metrics=bench.estimates(entry.answers),
        unscored=bench.unscored(entry.answers),
        p50_ms=record.p50_ms,
        p95_ms=record.p95_ms,
        decisions_per_second=record.decisions_per_second,
        load_seconds=record.load_seconds,
        size_bytes=record.size_bytes,
        peak_memory_bytes=record.peak_memory_bytes,
        usd_per_1k=per_1k,
        usd_per_month=usd_per_month(per_1k, kpis),
        predictions_key=entry.stored.key,
        predictions_digest=entry.stored.digest,
    )


def _title(record: Predictions, recipe: Recipe) -> str:
    if record.paid is not None:
        return f"{_TITLES[GENERALIST]}, {record.paid.model}"
    return {**_TITLES, **{s.name: s.title for s in recipe.quantize}}.get(record.contestant, record.contestant)
