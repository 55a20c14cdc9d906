"""The report: the verdict first, then everything it rests on. HTML, Markdown and JSON say the same."""

import json
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined

from evals.brief import SPOILT, in_short
from evals.drawing import Axis, cost_plot, reliability_plot, risk_plot
from evals.frontier import frontiers
from evals.kpi import mistakes_usd
from evals.metrics import TITLES, items
from evals.predictions import read_predictions
from evals.records import Contestant, Prediction, Report, Scorecard, Verdict
from evals.scorecard import bench_of
from evals.summary import summarize
from evals.table import assumed, interval, milliseconds, minus, percent, signed_usd, size, usd
from evals.tco import GENERALIST_PRICE
from evals.twin import Mistake, ReportTwin
from supply_chain.data.examples import NAMES, read_split
from supply_chain.errors import EvidenceMismatch
from supply_chain.identity import identity
from supply_chain.pricing import mistake_prices
from supply_chain.recipe import Recipe
from supply_chain.records import Predictions, Splits
from supply_chain.store import Store, Stored

VERSION = 8
_TEMPLATES = Path(__file__).parent / "templates"
_SHOWN_MISTAKES = 10
_SHOWN_LABELS = 12


@dataclass(frozen=True)
class Evidence:
    """All that a report shows."""

    recipe: Recipe
    scorecard: Stored[Scorecard]
    splits: Stored[Splits]
    verdict: Verdict
    decision_digest: str
    lineage: dict[str, str]
    predictions: Stored[Predictions]

    @property
    def card(self) -> Scorecard:
        """The scorecard's record."""
        return self.scorecard.record

    @property
    def candidate(self) -> Contestant:
        """The contestant that may ship."""
        found = self.card.contestant(self.card.candidate)
        assert found is not None
        return found

    @cached_property
    def mistakes(self) -> list[Mistake]:
        """Every wrong answer, the most confident first."""
        rows = {e.id: e for e in read_split(self.splits, "test")}
        given: list[Prediction] = read_predictions(self.predictions.verify())
        answers = [p.answer for p in given]
        bench = bench_of(self.recipe, self.card.labels, [rows[p.id] for p in given], 0)
        costs = mistakes_usd(bench, self.card.kpis, answers)
        found = []
        for p, right, cost in zip(given, bench.right(answers), costs, strict=True):
            if not right:
                truth, answer = told(self.card.task, p)
                mistake = Mistake(
                    text=rows[p.id].text, truth=truth, answer=answer, confidence=p.confidence, usd=float(cost)
                )
                found.append((-p.confidence, p.id, mistake))
        return [mistake for _, _, mistake in sorted(found, key=lambda row: row[:2])]

    @property
    def costliest(self) -> list[Mistake]:
        """Every wrong answer, the dearest first."""
        return sorted(self.mistakes, key=lambda m: -m.usd)


def render_report(
    recipe: Recipe,
    scorecard: Stored[Scorecard],
    splits: Stored[Splits],
    verdict: Verdict,
    decision_digest: str,
    lineage: dict[str, str],
    store: Store,
) -> Stored[Report]:
    """Renders a scorecard and what the gates said about it.

    `lineage` names what the candidate was made from, each with its digest. Raises
    EvidenceMismatch when scorecard, splits and predictions do not belong together.
    """
    key = identity(
        "report",
        VERSION,
        recipe=recipe,
        scorecard=scorecard.digest,
        splits=splits.digest,
        verdict=verdict,
        decision=decision_digest,
        lineage=lineage,
    )

    def make(folder: Path) -> Report:
        predictions = _predictions(scorecard.verify(), splits.verify(), store)
        evidence = Evidence(recipe, scorecard, splits, verdict, decision_digest, lineage, predictions)
        return _render(evidence, folder)

    return store.once(Report, key, make)


def _predictions(scorecard: Stored[Scorecard], splits: Stored[Splits], store: Store) -> Stored[Predictions]:
    if scorecard.record.splits_digest != splits.digest:
        raise EvidenceMismatch("the scorecard was made on other splits than those to be reported; score again")
    candidate = scorecard.record.contestant(scorecard.record.candidate)
    found = store.find(Predictions, candidate.predictions_key) if candidate else None
    if candidate is None or found is None or found.digest != candidate.predictions_digest:
        raise EvidenceMismatch(
            f"the store does not hold the predictions that {scorecard.record.candidate} was scored on; score again"
        )
    return found


def _render(evidence: Evidence, folder: Path) -> Report:
    environment = Environment(
        loader=FileSystemLoader(_TEMPLATES),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {"interval": interval, "ms": milliseconds, "size": size, "usd": usd, "percent": percent}
    environment.filters |= {"signed_usd": signed_usd, "assumed": assumed, "minus": minus}
    page = environment.get_template("report.html.j2").render(_view(evidence))
    (folder / "report.html").write_text(page, encoding="utf-8")
    (folder / "summary.md").write_text(summarize(evidence.recipe, evidence.card, evidence.verdict), encoding="utf-8")
    (folder / "report.json").write_text(_twin(evidence).model_dump_json(indent=2), encoding="utf-8")
    return Report(
        scorecard_digest=evidence.scorecard.digest,
        decision_digest=evidence.decision_digest,
        title=f"{evidence.recipe.name}: {evidence.verdict.headline}",
        promoted=evidence.verdict.promoted,
    )


def _view(evidence: Evidence) -> dict[str, Any]:
    card = evidence.card
    prices = mistake_prices(card.kpis, card.labels) if card.confusion else {}
    confused = [(n, t, a, prices[t, a]) for t, row in card.confusion.items() for a, n in row.items() if t != a and n]
    return {
        "recipe": evidence.recipe,
        "spoilt": SPOILT,
        "brief": in_short(card, evidence.candidate),
        "card": card,
        "candidate": evidence.candidate,
        "full": card.contestant("specialist"),
        "generalist_price": GENERALIST_PRICE,
        "general": card.contestant("generalist"),
        "metric": card.metric,
        "margin": evidence.recipe.promote.champion_margin,
        "titles_of": TITLES,
        "metric_name": TITLES[card.metric],
        "other_metrics": {n: TITLES[n] for n in evidence.candidate.metrics if n != card.metric},
        "noun": "Field" if card.task == "extraction" else "Label",
        "ranked": card.task == "classification",
        "verdict": evidence.verdict,
        "axis": Axis.around([c.metric(card.metric) for c in card.contestants], 0.1),
        "gap_axis": Axis.around([d.estimate for d in card.differences], 0.05, zero=True),
        "hop_axis": Axis.around([d.estimate for d in card.hops], 0.05, zero=True) if card.hops else None,
        "frontiers": frontiers(card),
        "reliability": reliability_plot(card.confidence) if card.confidence else None,
        "risk": risk_plot(card.confidence) if card.confidence else None,
        "cost": cost_plot(card.confidence.costs) if card.confidence and card.confidence.costs else None,
        "slice_axis": Axis.around([s.estimate for s in card.slices if s.estimate], 0.1) if card.slices else None,
        "stress_axis": Axis.around([s.change for s in card.robustness], 0.05, zero=True) if card.robustness else None,
        "slice_rival": _slice_rival(card),
        "saving_axis": _saving_axis(card),
        "titles": {c.name: c.title for c in card.contestants},
        "whole_matrix": len(card.labels) <= _SHOWN_LABELS,
        "confused": sorted(confused, key=lambda c: (-c[0], c[1:3]))[:_SHOWN_LABELS],
        "prices": prices,
        "mistakes": len(evidence.mistakes),
        "confident": evidence.mistakes[:_SHOWN_MISTAKES],
        "costly": evidence.costliest[:_SHOWN_MISTAKES],
        "splits": evidence.splits.record,
        "split_rows": json.loads((evidence.splits.path / "proof.json").read_text(encoding="utf-8"))["rows"],
        "names": NAMES,
        "lineage": _lineage(evidence),
    }


def _slice_rival(card: Scorecard) -> str | None:
    found = card.contestant("champion") or card.contestant("specialist")
    return found.title if found else None


def _saving_axis(card: Scorecard) -> Axis | None:
    if card.tco is None:
        return None
    ends = [value for s in card.tco.sensitivity for value in (s.less, s.more)] + [card.tco.saving_usd_per_month]
    room = 0.05 * (max(ends) - min(ends)) or 1.0
    return Axis(min(ends) - room, max(ends) + room)


def told(task: str, prediction: Prediction) -> tuple[str, str]:
    """Truth and answer as people read them: a class name each, or the labels or fields where they differ."""
    if task in {"classification", "generation"}:
        return prediction.label, prediction.answer
    true, said = items(prediction.label), items(prediction.answer)
    differ = [name for name in {**true, **said} if true.get(name) != said.get(name)]
    sides = [
        ", ".join(f"{name} {side[name]}".strip() for name in differ if name in side) or "nothing"
        for side in (true, said)
    ]
    return sides[0], sides[1] if prediction.answer else f"no valid JSON: {prediction.written[:200]}"


def _lineage(evidence: Evidence) -> dict[str, str]:
    own = {
        "splits": evidence.splits.digest,
        "candidate's weights": evidence.candidate.model_digest,
        "candidate's predictions": evidence.candidate.predictions_digest,
        "scorecard": evidence.scorecard.digest,
        "decision": evidence.decision_digest,
    }
    return {**evidence.lineage, **{name: digest for name, digest in own.items() if name not in evidence.lineage}}


def _twin(evidence: Evidence) -> ReportTwin:
    shown = {"most_confident": evidence.mistakes, "most_costly": evidence.costliest}
    return ReportTwin(
        recipe=evidence.recipe,
        verdict=evidence.verdict,
        scorecard=evidence.card,
        data=evidence.splits.record,
        lineage=_lineage(evidence),
        mistakes={name: found[:_SHOWN_MISTAKES] for name, found in shown.items()},
    )
