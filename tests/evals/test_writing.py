"""A tiny extraction recipe from split to report, promotion and service: every stage is the real one."""

import json
import random
from pathlib import Path

import pandas as pd
import pytest

from evals.answering import predict_model
from evals.baselines import predict_baseline
from evals.predictions import read_predictions
from evals.records import Scorecard
from evals.report import render_report
from evals.scorecard import score
from registry.gate import judge, verdict
from registry.lifecycle import Desk
from registry.manifest import publish
from registry.pyfunc import Specialist
from registry.release import register
from supply_chain.artifacts import merge, quantize
from supply_chain.data.curate import curate
from supply_chain.data.examples import read_split
from supply_chain.data.source import locate
from supply_chain.data.split import split
from supply_chain.errors import InvalidInput
from supply_chain.job import Job
from supply_chain.recipe import Recipe, load_recipe
from supply_chain.recipe.part import Surroundings
from supply_chain.records import Artifact, BaseModelRecord, Compute
from supply_chain.serving import read_serving
from supply_chain.settings import Settings
from supply_chain.store import Store, Stored
from supply_chain.tracking import NoTracker
from supply_chain.training import train
from tests.registry.work import FLEET

RECIPE = """\
name: tiny_orders
description: Takes a made-up order apart into what, colour and number.
owner: team:tests
task: extraction
data:
  source: {kind: path, path: orders.jsonl}
  label: {column: fields}
  rules: {near_duplicates: {action: keep}}
  license: CC0-1.0
base: tiny
prompt: {kind: plain, after: "\\nFields:", answers: {colour: c, item: i}}
train: {method: lora, rank: 2, alpha: 4, max_steps: 2, batch_size: 4, max_tokens: 128}
quantize: [{scheme: bnb-nf4, calibration_rows: 4}]
evaluate:
  resamples: 200
  latency_rows: 10
  shots: 1
  escalation: {max_risk: 0.5}
  kpis: {volume_per_month: 1000, mistake_usd: 0.5}
promote: {minimum: 0.0, beats: [], quantization_loss: 1.0}
route: {task: tiny-orders}
"""


def write_project(root: Path, recipe: str = RECIPE) -> Recipe:
    rng = random.Random(3)
    rows = []
    for number in range(100):
        fields = {"item": rng.choice(["phone", "lens", "cable"]), "number": str(number)}
        colour = rng.choice(["", "red", "blue"])
        fields |= {"colour": colour} if colour else {}
        rows.append({"text": f"order {number}: a {colour} {fields['item']}", "fields": fields})
    root.mkdir(parents=True)
    (root / "orders.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    (root / "tiny_orders.yaml").write_text(recipe)
    return load_recipe(root / "tiny_orders.yaml", Surroundings(root=root, bases=("tiny",)))


@pytest.fixture(scope="module")
def settings(tmp_path_factory: pytest.TempPathFactory) -> Settings:
    root = tmp_path_factory.mktemp("orders")
    return Settings(root=root / "project", home=root / "home", compute="float32:eager:1")


@pytest.fixture(scope="module")
def recipe(settings: Settings) -> Recipe:
    return write_project(settings.root)


@pytest.fixture(scope="module")
def store(settings: Settings) -> Store:
    return Store.of(settings)


@pytest.fixture(scope="module")
def job(settings: Settings, recipe: Recipe, store: Store, tiny_model: Path) -> Job:
    curated = curate(recipe.data, locate(recipe.data.source, settings.downloads, settings.root), store)
    record = BaseModelRecord(
        name="tiny", revision="1", source_sha256="0" * 64, license="CC0-1.0", parameters=1, context_tokens=512,
        tokenizer_sha256="0" * 64, chat_template_sha256="0" * 64,
    )  # fmt: skip

    def copy(folder: Path) -> BaseModelRecord:
        for path in tiny_model.iterdir():
            (folder / path.name).write_bytes(path.read_bytes())
        return record

    base = store.once(BaseModelRecord, "0" * 64, copy)
    return Job(recipe, base, split(curated, recipe.data.split, 17, store), settings, store)


@pytest.fixture(scope="module")
def models(job: Job) -> dict[str, Stored[Artifact]]:
    merged = merge(job, train(job, lambda _key: NoTracker()))
    return {"specialist": merged, "bnb-nf4": quantize(job, merged, job.recipe.quantize[0])}


@pytest.fixture(scope="module")
def answers(job: Job, models: dict[str, Stored[Artifact]], compute: Compute) -> list[Stored]:
    rest = (job.splits, job.recipe, compute, 17, job.store)
    found = [predict_baseline("majority", job.splits, job.recipe, 17, job.store)]
    for name, model in {"base": job.base, **models}.items():
        found.append(predict_model(name, model.path, model.digest, model.size_bytes, *rest))
    return found


@pytest.fixture(scope="module")
def card(job: Job, answers: list[Stored]) -> Stored[Scorecard]:
    return score(job.recipe, job.splits, answers, "bnb-nf4", 17, job.store)


def test_defaults_follow_the_task(recipe: Recipe):
    assert (recipe.evaluate.metric, recipe.evaluate.baselines) == ("exact_match", ["majority"])
    assert recipe.data.task == "extraction"


@pytest.mark.parametrize(
    ("edit", "message"),
    [
        (("  shots: 1", "  shots: 1\n  metric: accuracy"), "measured by exact_match, micro_f1, macro_f1"),
        (("beats: []", "beats: [tfidf]"), "answers classification only, not extraction"),
        (("mistake_usd: 0.5", "mistake_usd: 0.5, mistakes: {a->b: 1}"), "mistakes needs classification"),
    ],
)
def test_what_the_task_cannot_give_is_refused(tmp_path: Path, edit: tuple[str, str], message: str):
    with pytest.raises(InvalidInput, match=message):
        write_project(tmp_path / "p", RECIPE.replace(*edit))


def test_the_artifact_says_how_it_is_asked(models, job: Job):
    serving = read_serving(models["bnb-nf4"].path)
    assert (serving.task, serving.labels) == ("extraction", ["colour", "item", "number"])
    assert serving.escalation is not None and not serving.escalation.promised
    longest = max(len(row.label.replace("colour", "c").replace("item", "i")) for row in read_split(job.splits, "train"))
    assert 8 < serving.max_new_tokens <= longest * 5 // 4 + 2


def test_the_usual_answer_has_what_most_rows_have(answers, job: Job):
    majority = read_predictions(answers[0])
    seen = [json.loads(r.label) for name in ("train", "validation") for r in read_split(job.splits, name)]
    assert sum("colour" in s for s in seen) * 2 > len(seen)
    (answer,) = {p.answer for p in majority}
    found = json.loads(answer)
    assert set(found) == {"colour", "item", "number"}
    often = [sum(s["item"] == item for s in seen) for item in ("phone", "lens", "cable")]
    assert sum(s["item"] == found["item"] for s in seen) == max(often)


def test_everyone_is_measured_on_the_same_rows(card, job: Job):
    found = card.record
    assert [c.name for c in found.contestants] == ["majority", "base", "specialist", "bnb-nf4"]
    assert set(found.contestants[0].metrics) == {"exact_match", "micro_f1", "macro_f1", "valid"}
    assert found.contestants[0].metric("valid").mean == 1.0
    assert (found.task, found.metric, found.confusion, found.rows) == ("extraction", "exact_match", {}, 20)
    wrong = 1 - found.contestant("majority").metric("exact_match").mean
    assert found.contestant("majority").usd_per_1k.mean == pytest.approx(500 * wrong, rel=1e-3)
    assert [s.label for s in found.by_label] == ["colour", "item", "number"]


def test_an_untrained_model_writes_no_json_and_that_is_no_error(answers):
    rows = read_predictions(answers[-1])
    assert all(p.answer == "" and p.written and 0 <= p.confidence < 1 for p in rows)


def test_reported_promoted_routed_and_served(card, job: Job, models, tmp_path: Path, recipe: Recipe):
    artifact, judged = models["bnb-nf4"], judge(recipe.promote, card, job.store)
    report = render_report(recipe, card, job.splits, verdict(judged.record), judged.digest, {}, job.store)
    html = (report.path / "report.html").read_text()
    assert "Exact match" in html and ">Fields</h2>" in html and "Confusion" not in html
    assert "no valid JSON" in html
    assert "No threshold can promise" in html and "every answer is passed on" in html
    assert "exact match [95 %]" in (report.path / "summary.md").read_text()
    release = register(recipe, artifact, card, judged, report, None, job.settings, job.store)
    champion = Desk(FLEET, job.settings, job.store).promote(release)
    assert champion.aliases == ["champion"] and champion.quality.metric == "exact_match"
    (model,) = publish([champion], FLEET, job.settings, job.store).manifest.models
    assert (model.labels, model.quality.metric) == (["colour", "item", "number"], "exact_match")
    served = Specialist(artifact.path).predict(pd.DataFrame({"text": ["order 1: a red lens"]}))
    assert list(served["label"]) == [""] and 0 <= served["confidence"][0] < 1
    assert list(served["escalate"]) == [True]
