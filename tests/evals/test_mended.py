"""Experts' corrections: asked again of candidate and champion, counted and gated."""

import json
from pathlib import Path

import pytest

from evals.answering import predict_model
from evals.keys import corrections_of, model_key
from evals.mended import FILE, ask_again, mended
from evals.scorecard import score
from registry.gate import decide
from supply_chain.data.corrections import stored_corrections
from supply_chain.data.examples import read_split
from supply_chain.data.source import locate
from supply_chain.errors import EvidenceMismatch, InvalidInput
from supply_chain.job import Job
from supply_chain.recipe.promote import Promote
from supply_chain.recipe.sources import PathSource
from supply_chain.settings import Settings
from tests.evals.test_scorecard import answering

WHEN = "2026-03-01T09:00:00"


def corrected(root: Path, rows: list[tuple[str, str]]) -> PathSource:
    lines = [json.dumps({"text": t, "label": label, "who": "ann", "when": WHEN}) + "\n" for t, label in rows]
    root.mkdir(parents=True, exist_ok=True)
    (root / "mended.jsonl").write_text("".join(lines))
    return PathSource(kind="path", path="mended.jsonl")


def stored(root: Path, rows, store):
    return stored_corrections(locate(corrected(root, rows), root / "downloads", root), store)


def test_the_last_word_about_a_text_counts_and_what_was_lost_comes_first(tmp_path, tiny_splits, store, tiny_recipe):
    (known,) = [row.text for row in read_split(tiny_splits, "train")][:1]
    rows = [("a phone", "positive"), ("A  PHONE", "negative"), ("a lens", "neutral"), (known, "positive")]
    found = stored(tmp_path / "c", rows, store)
    folders = {}
    for name, answers in {"now": ["positive", "positive", "positive"], "before": ["positive", "neutral", "x"]}.items():
        folders[name] = tmp_path / name
        folders[name].mkdir()
        asked: list[str] = []
        ask_again(folders[name], found, tiny_splits, lambda texts, a=answers, to=asked: to.extend(texts) or a)
        assert sorted(asked) == sorted(["A  PHONE", "a lens", known])

    class Of:
        def __init__(self, path):
            self.path, self.files = path, {FILE: None}

    result = mended(Of(folders["now"]), Of(folders["before"]))
    assert (result.rows, result.right, result.trained, result.champion_right, result.lost) == (3, 1, 1, 1, 1)
    assert [(m.line, m.truth, m.answer, m.who) for m in result.missed] == [
        (3, "neutral", "positive", "ann"),
        (2, "negative", "positive", "ann"),
    ]
    assert mended(Of(folders["now"]), None).champion_right is None


def test_the_candidate_is_asked_scored_and_gated(tiny_model, tiny_splits, tiny_recipe, compute, store, tmp_path):
    source = corrected(tmp_path / "project", [("the phone is awful", "negative"), ("a lovely lens", "positive")])
    recipe = tiny_recipe.model_copy(
        update={"evaluate": tiny_recipe.evaluate.model_copy(update={"corrections": source})}
    )
    settings = Settings(root=tmp_path / "project", home=tmp_path / "home")
    job = Job(recipe, None, tiny_splits, settings, store)
    found = corrections_of("bnb-nf4", job)
    assert found is not None and found.record.rows == 2
    assert corrections_of("base", job) is None and corrections_of("champion", job) is not None
    assert model_key("bnb-nf4", "d" * 64, job) != model_key("bnb-nf4", "d" * 64, Job(tiny_recipe, *vars_of(job)))
    answers = predict_model("bnb-nf4", tiny_model, "d" * 64, 1, tiny_splits, recipe, compute, 17, store, found)
    assert answers.key == model_key("bnb-nf4", "d" * 64, job)
    other = answering("specialist", tiny_splits, store, wrong=6)
    card = score(recipe, tiny_splits, [answers, other], "bnb-nf4", 17, store)
    told = card.record.mended
    assert (told.rows, told.trained, told.champion_right) == (2, 0, None) and told.right + len(told.missed) == 2
    policy = Promote(minimum=0, beats=[], min_mended=1.0)
    check = next(c for c in decide(policy, card.record, "s").checks if c.name == "mended")
    assert check.measured == told.right / 2 and check.passed == (told.right == 2)
    silent = answering("bnb-nf4", tiny_splits, store, wrong=6)
    with pytest.raises(EvidenceMismatch, match="bnb-nf4 was not asked the experts' corrections"):
        score(recipe, tiny_splits, [silent, other], "bnb-nf4", 17, store)


def vars_of(job: Job) -> tuple:
    return (job.base, job.splits, job.settings, job.store)


def test_a_policy_without_corrections_has_no_evidence(tiny_splits, tiny_recipe, store):
    given = [answering(name, tiny_splits, store, wrong=6) for name in ("specialist", "bnb-nf4")]
    card = score(tiny_recipe, tiny_splits, given, "bnb-nf4", 17, store)
    (check,) = [c for c in decide(Promote(minimum=0, min_mended=0.5), card.record, "s").checks if c.name == "mended"]
    assert not check.passed and check.sentence.startswith("No evidence")


def test_a_faulty_line_is_named(tmp_path, store):
    root = tmp_path / "c"
    corrected(root, [])
    (root / "mended.jsonl").write_text('{"text": "a", "label": "b", "who": "ann"}\n')
    with pytest.raises(InvalidInput, match="line 1: no when"):
        stored_corrections(locate(PathSource(kind="path", path="mended.jsonl"), root / "d", root), store)
