"""A generalist behind a real endpoint on this machine: asked once, paid once, priced, and told in the report."""

import json
import sqlite3
from dataclasses import replace
from pathlib import Path

import pytest

from evals.baselines import predict_baseline
from evals.generalist import ask_generalist, price_per_1k
from evals.predictions import read_predictions
from evals.report import render_report
from evals.scorecard import score
from evals.table import contestant_rows
from registry.gate import decide, verdict
from supply_chain.data.examples import read_split
from supply_chain.errors import InvalidInput, InvalidRecipe, Unavailable
from supply_chain.escalation import Escalation
from supply_chain.job import Job
from supply_chain.recipe import Recipe, load_recipe
from supply_chain.recipe.evaluate import Generalist
from supply_chain.recipe.part import Surroundings
from supply_chain.recipe.promote import Promote
from supply_chain.settings import Settings
from tests.conftest import WORDS, write_tiny_project
from tests.evals.test_scorecard import answering
from tests.supply_chain.chat_server import KEY, Chat, Refusal, chat_server

ENDPOINT = {
    "model": "large", "key_env": "GENERALIST_KEY", "license": "proprietary", "zone": "eu", "requests_per_minute": 1e6,
    "backoff_s": 0.001, "attempts": 3, "parallel": 2, "usd_per_million_in": 10, "usd_per_million_out": 100,
}  # fmt: skip
PER_1K = 1000 * (100 * 10 + 10 * 100) / 1e6
"""What the server's replies are paid: 100 tokens in, 10 out."""


def right(text: str) -> str:
    return next(label for label, words in WORDS.items() if any(word in text for word in words))


@pytest.fixture(autouse=True)
def _key(monkeypatch):
    monkeypatch.setenv("GENERALIST_KEY", KEY)


@pytest.fixture
def job(tiny_recipe, tiny_splits, tmp_path, store) -> Job:
    return Job(tiny_recipe, None, tiny_splits, Settings(root=tmp_path, home=tmp_path / "home"), store)


def asking(job: Job, chat: Chat, kpis: dict | None = None, **changes) -> tuple[Job, Recipe]:
    generalist = Generalist.model_validate({"endpoint": {**ENDPOINT, "url": chat.url, **changes}})
    priced = job.recipe.evaluate.kpis.model_copy(update=kpis or {})
    spec = job.recipe.evaluate.model_copy(update={"generalist": generalist, "kpis": priced})
    recipe = job.recipe.model_copy(update={"evaluate": spec})
    return replace(job, recipe=recipe), recipe


def test_it_is_a_contestant_with_its_own_price_and_time(job: Job):
    rows = read_split(job.splits, "test")
    silent = rows[0].text
    with chat_server(
        lambda text, before: Refusal() if before == 0 else "hm" if text == silent else right(text)
    ) as chat:
        made, recipe = asking(job, chat)
        given = ask_generalist(made, recipe.evaluate.generalist.endpoint)
        assert len(chat.asked) == 2 * len(rows)  # each was refused once
        again = ask_generalist(made, recipe.evaluate.generalist.endpoint)
        assert (again.digest, len(chat.asked)) == (given.digest, 2 * len(rows))
    paid = given.record.paid
    assert (paid.model, paid.questions, paid.unreadable, paid.uncounted) == ("large", len(rows), 1, 0)
    assert (paid.tokens_in, paid.tokens_out) == (100 * len(rows), 10 * len(rows))
    assert 0 < given.record.p50_ms <= given.record.p95_ms and given.record.size_bytes == 0
    answers = {p.id: (p.answer, p.written, p.confidence) for p in read_predictions(given)}
    assert answers[rows[0].id] == ("", "hm", 0.0) and answers[rows[1].id] == (rows[1].label, rows[1].label, 1.0)

    usual = predict_baseline("majority", job.splits, recipe, 17, job.store)
    own = answering("bnb-nf4", job.splits, job.store, wrong=4)
    card = score(recipe, job.splits, [usual, own, given], "bnb-nf4", 17, job.store).record
    assert [c.name for c in card.contestants] == ["majority", "generalist", "bnb-nf4"]
    found = card.contestant("generalist")
    share = (len(rows) - 1) / len(rows)
    assert found.title == "Generalist, large" and found.metric("accuracy").mean == pytest.approx(share)
    assert found.metric("macro_f1").mean == pytest.approx((1 + 1 + 14 / 15) / 3)  # an empty answer is no other label's
    mistake = recipe.evaluate.kpis.mistake_usd
    assert found.usd_per_1k.mean == pytest.approx(PER_1K + 1000 * mistake / len(rows))
    assert card.difference("bnb-nf4", "generalist").losses == 5 and card.generalist.together is None
    assert card.generalist.usd_per_1k == pytest.approx(PER_1K)
    assert card.tco.assumptions["Generalist, $ for 1,000 requests"] == pytest.approx(PER_1K)
    assert [r["size"] for r in contestant_rows(card)][1] == "–"
    policy = Promote(minimum=0, beats=[], generalist_margin=0.05)
    check = next(c for c in decide(policy, card, "s").checks if c.name == "generalist")
    assert not check.passed and check.sentence.startswith("Against generalist, macro-F1 differs by -0.")
    assert next(c for c in decide(policy.model_copy(update={"generalist_margin": 0.9}), card, "s").checks if
                c.name == "generalist").passed  # fmt: skip
    bare = card.model_copy(update={"contestants": [c for c in card.contestants if c.name != "generalist"]})
    assert "No evidence" in next(c for c in decide(policy, bare, "s").checks if c.name == "generalist").sentence


def test_what_is_passed_on_is_answered_and_priced_by_it(job: Job):
    """Both together: the candidate's sure answers, the generalist's elsewhere; and the report says so."""
    rows = read_split(job.splits, "test")
    wrong = {row.text for row in rows[::8]}
    other = {"negative": "neutral", "neutral": "positive", "positive": "negative"}
    with chat_server(lambda text, _: other[right(text)] if text in wrong else right(text)) as chat:
        made, recipe = asking(job, chat, {"generalist_usd_per_1k": 1.5})
        given = ask_generalist(made, recipe.evaluate.generalist.endpoint)
    nobody = Escalation(max_risk=0.1, confidence=0.95, threshold=0.9, rows=60, kept=0, mistakes=0)
    own = answering("bnb-nf4", job.splits, job.store, wrong=4, escalation=nobody)  # its confidence is 0.8: passed on
    stored = score(recipe, job.splits, [own, given], "bnb-nf4", 17, job.store)
    found = stored.record.generalist
    alone = stored.record.contestant("generalist")
    assert found.together.escalated == 1.0 and found.together.metric == alone.metric("macro_f1")
    assert found.together.against_generalist.mean == 0
    compute = 36.0 / 3.6e6 * recipe.evaluate.kpis.compute_usd_per_hour * 1000
    assert found.together.usd_per_1k.mean == pytest.approx(alone.usd_per_1k.mean + compute)
    assert stored.record.tco.assumptions["One answer passed on, $"] == pytest.approx(PER_1K / 1000)
    judged = verdict(decide(recipe.promote, stored.record, "s"))
    report = render_report(recipe, stored, job.splits, judged, "d" * 64, {}, job.store).path
    html = (report / "report.html").read_text()
    assert (
        'id="generalist"' in html and "<strong>$2.00</strong> for 1,000 answers, where the recipe assumes $1.50" in html
    )
    assert json.loads((report / "report.json").read_text())["scorecard"]["generalist"]["model"] == "large"


def test_an_unknown_price_is_not_zero(job: Job):
    with chat_server(lambda text, _: right(text)) as chat:
        chat.usage = False
        made, recipe = asking(job, chat, parallel=1)
        given = ask_generalist(made, recipe.evaluate.generalist.endpoint)
    assert given.record.paid.uncounted == given.record.rows
    assert price_per_1k(recipe.evaluate.generalist.endpoint, given.record.paid) is None
    own = answering("bnb-nf4", job.splits, job.store, wrong=4)
    card = score(recipe, job.splits, [own, given], "bnb-nf4", 17, job.store).record
    assert (card.generalist.usd_per_1k, card.tco) == (None, None)


def test_data_that_must_stay_is_not_sent_and_an_endpoint_that_is_gone_is_no_score(job: Job, tmp_path: Path):
    with chat_server(lambda text, before: Refusal(503)) as chat:
        made, recipe = asking(job, chat, accepts="public")
        with pytest.raises(InvalidInput, match=r"evaluate.generalist.endpoint: data.sensitivity is internal"):
            ask_generalist(made, recipe.evaluate.generalist.endpoint)
        assert not chat.asked
        made, recipe = asking(job, chat)
        with pytest.raises(Unavailable, match=r"generalist large at .* gave no answer in 3 attempts.*0 of 24 answers"):
            ask_generalist(made, recipe.evaluate.generalist.endpoint)
    with chat_server(lambda text, before: "As a language model") as chat:
        made, recipe = asking(job, chat)
        with pytest.raises(InvalidInput, match=r"say more in evaluate.generalist.endpoint.instruction"):
            ask_generalist(made, recipe.evaluate.generalist.endpoint)
        made, recipe = asking(job, chat, max_usd=0.002, model="other", parallel=1)
        with pytest.raises(
            InvalidInput, match=r"evaluate.generalist.endpoint.max_usd is 0.002.*of 24 answers are kept"
        ):
            ask_generalist(made, recipe.evaluate.generalist.endpoint)


def test_answers_that_were_kept_before_they_were_timed_are_not_called_instant(job: Job):
    with chat_server(lambda text, _: right(text)) as chat:
        made, recipe = asking(job, chat)
        ask_generalist(made, recipe.evaluate.generalist.endpoint)
        (file,) = (made.settings.home / "teachers").glob("*.sqlite")
        with sqlite3.connect(file) as db:
            db.execute("ALTER TABLE replies DROP COLUMN seconds")
        fewer = recipe.model_copy(update={"evaluate": recipe.evaluate.model_copy(update={"max_rows": 20})})
        with pytest.raises(InvalidInput, match=r"kept before they were timed: move .*teachers away"):
            ask_generalist(replace(made, recipe=fewer), recipe.evaluate.generalist.endpoint)
        assert len(chat.asked) == 24, "nothing is paid twice"


@pytest.mark.parametrize(
    ("edit", "message"),
    [
        ({"accepts": "public"}, "evaluate.generalist.endpoint: data.sensitivity is internal"),
        ({"samples": 3, "temperature": 0.7}, "evaluate.generalist.endpoint.samples: a generalist is asked once"),
        ({"zone": "us"}, "evaluate.generalist.endpoint: the data would leave zone eu for us"),
        (None, "promote.generalist_margin compares with evaluate.generalist"),
    ],
)
def test_faults_are_told_before_anything_is_asked(tmp_path: Path, edit: dict | None, message: str):
    path = write_tiny_project(tmp_path / "p")
    endpoint = json.dumps({**ENDPOINT, "url": "https://models.example.org/v1", **(edit or {})})
    text = path.read_text().replace("resamples", f"generalist: {{endpoint: {endpoint}}}\n  resamples")
    text = text.replace("license:", "zone: eu\n  license:", 1)
    if edit is None:
        text = path.read_text().replace("minimum: 0.5", "minimum: 0.5, generalist_margin: 0.02")
    path.write_text(text)
    with pytest.raises(InvalidRecipe, match=message):
        load_recipe(path, Surroundings(root=tmp_path / "p", bases=("tiny",)))
