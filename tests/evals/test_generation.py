"""A tiny generation recipe from split to report, promotion and service: every stage is the real one."""

import json
import random
from pathlib import Path

import pandas as pd
import pytest

from evals.answering import predict_model
from evals.baselines import predict_baseline
from evals.predictions import read_predictions
from evals.report import render_report
from evals.scorecard import score
from registry.gate import judge, verdict
from registry.pyfunc import Specialist
from supply_chain.errors import InvalidInput
from supply_chain.job import Job
from supply_chain.recipe import Recipe, load_recipe
from supply_chain.recipe.part import Surroundings
from supply_chain.records import Compute
from supply_chain.serving import read_serving
from supply_chain.settings import Settings
from tests.evals.test_writing import job, models, settings, store  # noqa: F401 (fixtures)

RECIPE = """\
name: tiny_notes
description: Writes a made-up note about a made-up order.
owner: team:tests
task: generation
data:
  source: {kind: path, path: notes.jsonl}
  label: {column: note}
  rules: {near_duplicates: {action: keep}}
  license: CC0-1.0
base: tiny
prompt: {kind: plain, after: "\\nNote:"}
train: {method: lora, rank: 2, alpha: 4, max_steps: 2, batch_size: 4, max_tokens: 128}
quantize: [{scheme: bnb-nf4, calibration_rows: 4}]
evaluate:
  resamples: 200
  latency_rows: 10
  acceptable: 0.8
  perturbations: [upper]
  kpis: {volume_per_month: 1000, mistake_usd: 0.5}
promote: {minimum: 0.0, beats: [], quantization_loss: 1.0, max_unscored: 0.0, min_valid: 0.0}
route: {task: tiny-notes}
"""


def write_notes(root: Path, recipe: str = RECIPE) -> Recipe:
    rng, rows = random.Random(3), []
    for number in range(100):
        item = rng.choice(["phone", "lens"])
        rows.append({"text": f"order {number}: {item}", "note": f"send the {item} number {number // 2} <b>today</b>"})
    rows[7]["note"] = rows[8]["note"] = rows[9]["note"] = "call first"
    root.mkdir(parents=True, exist_ok=True)
    (root / "notes.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    (root / "tiny_notes.yaml").write_text(recipe)
    return load_recipe(root / "tiny_notes.yaml", Surroundings(root=root, bases=("tiny",)))


@pytest.fixture(scope="module")
def recipe(settings: Settings) -> Recipe:  # noqa: F811
    return write_notes(settings.root)


def test_defaults_follow_the_task(recipe: Recipe):
    spec = recipe.evaluate
    assert (spec.metric, spec.also, spec.baselines) == ("rouge_l", ["chrf", "bleu", "exact_match"], ["majority"])


@pytest.mark.parametrize(
    ("edit", "message"),
    [
        (("acceptable: 0.8", "metric: macro_f1"), "measured by rouge_l, chrf, bleu, exact_match, similarity"),
        (("acceptable: 0.8", "also: [accuracy]"), "evaluate.also: generation is not measured by accuracy"),
        (("acceptable: 0.8", "escalation: {max_risk: 0.1}"), "evaluate.escalation needs answers that are right"),
        (("task: generation", "task: multilabel"), "evaluate.also is for generation"),
    ],
)
def test_what_the_task_cannot_give_is_refused(tmp_path: Path, edit: tuple[str, str], message: str):
    text = RECIPE.replace("acceptable: 0.8", "acceptable: 0.8\n  also: [chrf]") if "multilabel" in edit[1] else RECIPE
    with pytest.raises(InvalidInput, match=message):
        write_notes(tmp_path / "p", text.replace(*edit))


def test_texts_are_written_scored_gated_reported_and_served(
    job: Job,  # noqa: F811
    models,  # noqa: F811
    recipe: Recipe,
    compute: Compute,
):
    rest = (job.splits, job.recipe, compute, 17, job.store)
    given = [predict_baseline("majority", job.splits, job.recipe, 17, job.store)]
    for name, model in {"base": job.base, **models}.items():
        given.append(predict_model(name, model.path, model.digest, model.size_bytes, *rest))
    card = score(recipe, job.splits, given, "bnb-nf4", 17, job.store)
    usual = card.record.contestant("majority")
    assert set(usual.metrics) == {"rouge_l", "chrf", "bleu", "exact_match", "acceptable", "valid"}
    assert {p.answer for p in read_predictions(given[0])} == {"call first"}
    assert usual.usd_per_1k.mean == pytest.approx(500 * (1 - usual.metric("acceptable").mean), rel=1e-3)
    assert (card.record.by_label, card.record.confusion, card.record.metric) == ([], {}, "rouge_l")
    assert [s.kind for s in card.record.robustness] == ["upper"]
    served_as = read_serving(models["bnb-nf4"].path)
    assert (served_as.task, served_as.escalation) == ("generation", None) and served_as.max_new_tokens > 8
    written = read_predictions(given[-1])
    assert all(0 < p.confidence <= 1 and p.answer == p.written.strip() for p in written)

    judged = judge(recipe.promote, card, job.store)
    checks = {c.name: c for c in judged.record.checks}
    assert checks["unscored"].passed and checks["unscored"].measured == 0.0
    report = render_report(recipe, card, job.splits, verdict(judged.record), judged.digest, {}, job.store)
    html = (report.path / "report.html").read_text()
    assert "ROUGE-L" in html and "acceptable answers" in html.lower() and 'id="labels"' not in html
    assert "&lt;b&gt;today" in html and "<b>today" not in html
    answer = Specialist(models["bnb-nf4"].path).predict(pd.DataFrame({"text": ["order 1: lens"]}))
    assert 0 < answer["confidence"][0] <= 1 and list(answer["escalate"]) == [False]
