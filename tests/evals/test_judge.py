"""A judge behind a real endpoint on this machine: places swapped, replies paid once, kappa against experts."""

import json
from pathlib import Path

import pytest

from evals.judge import Agreed, Court, Pair, _agreement, agreed, judged, read_scores
from evals.judgement import try_all
from evals.predictions import Answer, write_answers
from evals.scorecard import Beside, score
from registry.gate import decide
from supply_chain.data.curate import curate
from supply_chain.data.examples import read_split
from supply_chain.data.source import locate
from supply_chain.data.split import split
from supply_chain.errors import InvalidInput, Unavailable
from supply_chain.recipe import Recipe
from supply_chain.recipe.evaluate import Judge
from supply_chain.recipe.promote import Promote
from supply_chain.records import Predictions
from supply_chain.settings import Settings
from tests.evals.test_generation import write_notes
from tests.supply_chain.chat_server import KEY, Refusal, chat_server


def fair(text: str, _before: int = 0) -> str:
    """Prefers the longer answer, wherever it stands; `odd` is answered at length."""
    a, b = text.split("Answer A:\n")[1].split("\n\nAnswer B:\n")
    if "odd" in text:
        return "I cannot say."
    return "SAME" if len(a) == len(b) else "A." if len(a) > len(b) else "b"


def court(url: str, root: Path, store, **more) -> Court:
    endpoint = {
        "url": url, "model": "large", "key_env": "JUDGE_KEY", "license": "proprietary", "zone": "eu",
        "requests_per_minute": 1e6, "backoff_s": 0.001, "attempts": 2, "usd_per_million_in": 10,
    }  # fmt: skip
    judge = Judge.model_validate({"endpoint": {**endpoint, **more.pop("endpoint", {})}, **more})
    return Court(judge, Settings(root=root, home=root.parent / "home"), store)


@pytest.fixture(autouse=True)
def _key(monkeypatch):
    monkeypatch.setenv("JUDGE_KEY", KEY)


def test_places_are_swapped_and_told_in_the_pairs_own_terms(tmp_path, store):
    pairs = [Pair("q", "longer one", "short"), Pair("q", "x", "long"), Pair("q", "ab", "cd"), Pair("odd", "a", "bb")]
    with chat_server(fair) as chat:
        both, usd = court(chat.url, tmp_path / "p", store).verdicts(pairs)
        assert both == [("a", "a"), ("b", "b"), ("same", "same"), ("", "")]
        assert len(chat.asked) == 8 and usd == pytest.approx(8 * 100 * 10 / 1e6)
        again, _ = court(chat.url, tmp_path / "p", store).verdicts(pairs)
        assert again == both and len(chat.asked) == 8  # paid once
    with chat_server(lambda text, before: "A") as chat:
        both, _ = court(chat.url, tmp_path / "other", store).verdicts(pairs[:1])
        assert both == [("a", "b")]  # a judge that always takes the first place


def test_kappa_is_agreement_beyond_chance():
    truth = ["a"] * 20 + ["b"] * 20
    said = [("a", "a")] * 15 + [("b", "b")] * 5 + [("b", "b")] * 15 + [("a", "a")] * 5
    found = _agreement(truth, said)
    assert found.kappa.mean == pytest.approx((0.75 - 0.5) / 0.5) and found.kappa.low < 0.5 < found.kappa.high
    assert (found.same_verdict, found.swayed, found.unreadable) == (0.75, 0, 0)
    odd = _agreement(["same", "a", "b"], [("a", "b"), ("", "a"), ("b", "b")])
    assert (odd.swayed, odd.unreadable, odd.kappa.n, odd.same_verdict) == (1, 1, 2, 1.0)
    assert _agreement(["a", "a"], [("a", "a"), ("a", "a")]).kappa.mean == 0.0  # chance explains it all
    assert _agreement(["a"], [("", "")]).kappa.n == 0


def answering(recipe, splits, store, name: str, answers: dict[str, str]):
    def make(folder: Path) -> Predictions:
        rows = read_split(splits, "test")
        write_answers(folder, rows, [Answer(answers[r.id], 0.5, answers[r.id]) for r in rows])
        figures = {"p50_ms": 1.0, "p95_ms": 2.0, "size_bytes": 1, "peak_memory_bytes": 1, "load_seconds": 1.0}
        return Predictions(
            contestant=name, model_digest="d" * 64, splits_digest=splits.digest, labels=[], task="generation",
            rows=len(rows), decisions_per_second=1.0, **figures,
        )  # fmt: skip

    return store.once(Predictions, "e" * 64, make)


def test_texts_are_judged_scored_and_gated(tmp_path, store):
    root = tmp_path / "p"
    recipe = write_notes(root)
    splits = split(curate(recipe.data, locate(recipe.data.source, tmp_path, root), store), recipe.data.split, 17, store)
    rows = read_split(splits, "test")
    worse, odd = {r.id for r in rows[:3]}, rows[3].id
    answers = {r.id: r.label + " indeed" for r in rows} | dict.fromkeys(worse, "no") | {odd: "odd"}
    answers[rows[4].id] = rows[4].label  # the reference itself: not asked about
    given = answering(recipe, splits, store, "bnb-nf4", answers)
    experts = root / "experts.jsonl"
    pairs = [("a longer answer", "one", "a"), ("one", "the longer one", "b")] * 10
    experts.write_text("".join(json.dumps({"text": "q", "a": a, "b": b, "verdict": v}) + "\n" for a, b, v in pairs))
    with chat_server(fair) as chat:
        made = court(chat.url, root, store, experts={"kind": "path", "path": "experts.jsonl"})
        spec = recipe.evaluate.model_copy(update={"judge": made.judge, "perturbations": []})
        recipe = recipe.model_copy(update={"evaluate": spec})
        trial = try_all(recipe, splits, [given], made.settings, store)
        assert trial is not None and isinstance(trial[1].record, Agreed)
        assert len(chat.asked) == 2 * (len(rows) - 1) + 4
    scores = read_scores(trial[0]["bnb-nf4"])
    assert (scores[odd], scores[rows[4].id], {scores[i] for i in worse}) == (None, 1.0, {0.0})
    card = score(recipe, splits, [given], "bnb-nf4", 17, store, Beside(trial))
    found = card.record.judgement
    assert (found.candidate.n, found.unscored, found.swayed) == (len(rows) - 1, 1, 0)
    assert found.candidate.mean == pytest.approx((len(rows) - 4) / (len(rows) - 1))
    assert found.agreement.kappa.mean == 1.0 and found.usd > 0
    policy = Promote(minimum=0, beats=[], min_judged=0.99, min_kappa=0.9)
    checks = {c.name: c for c in decide(policy, card.record, "s").checks}
    assert checks["kappa"].passed and not checks["judged"].passed
    assert "large judges 84.2%" in checks["judged"].sentence and "1 could not be judged" in checks["judged"].sentence
    bare = decide(policy, card.record.model_copy(update={"judgement": None}), "s")
    assert all(c.sentence.startswith("No evidence") for c in bare.checks if c.name in {"judged", "kappa"})


def test_data_that_must_stay_is_not_sent_and_a_refusal_is_no_verdict(tmp_path, store):
    root = tmp_path / "p"
    recipe = write_notes(root)
    splits = split(curate(recipe.data, locate(recipe.data.source, tmp_path, root), store), recipe.data.split, 17, store)
    given = answering(recipe, splits, store, "bnb-nf4", {r.id: "no" for r in read_split(splits, "test")})
    with chat_server(lambda text, before: Refusal(503)) as chat:
        with pytest.raises(InvalidInput, match=r"evaluate.judge.endpoint: data.sensitivity is internal"):
            judged(court(chat.url, root, store, endpoint={"accepts": "public"}), splits, given)
        assert not chat.asked
        with pytest.raises(Unavailable, match=r"judge large at .* gave no answer in 2 attempts"):
            judged(court(chat.url, root, store), splits, given)


def test_faulty_verdicts_are_named_by_line(tmp_path, store):
    root = tmp_path / "p"
    root.mkdir()
    (root / "e.jsonl").write_text('{"text":"q","a":"x","b":"y","verdict":"c"}\n{"text":"q"}\n')
    with pytest.raises(InvalidInput, match=r"evaluate.judge.experts: .*line 1: needs text, a, b and verdict.*; line 2"):
        agreed(court("http://127.0.0.1:9/v1", root, store, experts={"kind": "path", "path": "e.jsonl"}))


def test_a_judge_is_for_texts(tiny_recipe):
    block = {"endpoint": {"url": "https://x.example/v1", "model": "m", "license": "l", "zone": "eu"}}
    values = tiny_recipe.model_dump(mode="json")
    values["evaluate"]["judge"] = block
    with pytest.raises(ValueError, match=r"evaluate.judge compares texts, so it needs generation"):
        Recipe.model_validate(values)
