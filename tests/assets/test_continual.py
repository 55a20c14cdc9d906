"""The chain goes on from its champion: new rows, its weights, and what it knows of the test rows before."""

import json
import random

import pytest

from assets.project import Project
from assets.run import latest, run_recipe
from registry.release import champions_before
from supply_chain.data.examples import read_split
from tests.assets.conftest import load
from tests.conftest import NOUNS, WORDS

HEAD = (
    "train: {method: head, tune: full, max_steps: 6, batch_size: 8, max_tokens: 64, continual: {replay: 0.25}, "
    "corrections: {source: {kind: path, path: data/corrections.jsonl}}}"
)
LORA = "train: {method: lora, rank: 2, alpha: 4, max_steps: 2, batch_size: 4, max_tokens: 64}"


@pytest.mark.slow
def test_a_second_version_goes_on_from_the_first_and_a_third_run_finds_it_again(project: Project) -> None:
    data = project.settings.root / "data"
    told = [{"text": "a gilded strap", "label": "positive", "who": "ann", "when": "2026-01-05"}]
    (data / "corrections.jsonl").write_text(json.dumps(told[0]) + "\n")
    recipe = load(project, (LORA, HEAD), ("promote: {", "promote: {max_forgetting: 1.0, "))
    name = recipe.name
    assert run_recipe(recipe, project).failed is None
    first = {asset: latest(name, asset, project) for asset in ("splits", "adapter", "quantized_model", "scorecard")}
    assert first["adapter"].record.champion is None
    assert first["splits"].record.succession.corrected == 1
    assert first["scorecard"].record.forgetting.tests == []
    sentence = next(c.sentence for c in latest(name, "decision", project).record.checks if c.name == "forgetting")
    assert sentence == "There is no earlier test set yet that it could have forgotten."
    assert run_recipe(recipe, project).failed is None
    assert latest(name, "adapter", project).key == first["adapter"].key

    rng, lines = random.Random(3), ["text,label,review"]
    for i in range(90):
        words = " ".join(rng.sample([*NOUNS, *WORDS["neutral"], *WORDS["positive"]], 7))
        lines.append(f"{words},{('negative', 'positive', 'angry')[i % 3]},later{i}")
    (data / "later.csv").write_text("\n".join(lines))
    recipe = load(project, ("data/tiny_reviews.csv", "data/later.csv"))
    assert run_recipe(recipe, project).failed is None
    adapter, splits = latest(name, "adapter", project), latest(name, "splits", project)
    assert adapter.record.champion == first["quantized_model"].digest
    assert splits.record.labels == ["angry", "negative", "neutral", "positive"]
    assert splits.record.succession.replayed > 10
    card = latest(name, "scorecard", project).record
    assert {c.name for c in card.contestants} > {"champion", "bnb-nf4"}
    (test,) = card.forgetting.tests
    assert (test.first, test.rows, list(test.accuracy)) == (
        1,
        len(read_split(first["splits"], "test")),
        ["1", "candidate"],
    )
    check = next(c for c in latest(name, "decision", project).record.checks if c.name == "forgetting")
    assert (check.passed, check.measured) == (True, card.forgetting.average.high)
    assert 'id="forgetting"' in (latest(name, "report", project).path / "report.html").read_text()

    assert [one.version for one in champions_before(name, "", project.settings)] == [1, 2]
    assert run_recipe(recipe, project).failed is None
    assert latest(name, "adapter", project).key == adapter.key
    assert latest(name, "scorecard", project).record == card
