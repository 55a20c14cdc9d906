"""Preference training: pairs from experts or from the model's own mistakes, from recipe to merged weights."""

import dataclasses
import json
import math
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from transformers import AutoTokenizer

from supply_chain.artifacts import merge
from supply_chain.data.curate import curate
from supply_chain.data.examples import read_split
from supply_chain.data.source import locate
from supply_chain.data.split import split
from supply_chain.errors import InvalidInput, InvalidRecipe
from supply_chain.inference import load
from supply_chain.job import Job
from supply_chain.keys import adapter_key
from supply_chain.preference import PairBatches, answer_likelihoods, pair_rows, pairs_of, preference_loss
from supply_chain.prompt import Renderer
from supply_chain.recipe import Recipe, load_recipe
from supply_chain.recipe.part import Surroundings
from supply_chain.recipe.preference import PreferenceTrain
from supply_chain.scoring import label_likelihoods
from supply_chain.store import Store
from supply_chain.trainable import open_trainable
from supply_chain.training import train
from tests.conftest import write_tiny_project
from tests.supply_chain.driving import start
from tests.supply_chain.test_methods import job_of
from tests.supply_chain.test_training import CPU, tracker

WANTED = [
    {"text": "the strap of my watch is superb", "right": "positive", "wrong": "negative"},
    {"text": "a plain and usual cable", "right": "neutral", "wrong": "positive"},
    {"text": "it came broken and useless", "right": "negative", "wrong": "neutral"},
]
TRAIN = {"method": "preference", "start": "first", "beta": 1, "max_steps": 30, "batch_size": 3, "learning_rate": 0.003}


@pytest.fixture(scope="module")
def job(tmp_path_factory: pytest.TempPathFactory, tiny_model: Path) -> Job:
    """A job that starts from another recipe's weights, with three corrections of experts."""
    home = tmp_path_factory.mktemp("preference")
    path = write_tiny_project(home / "project")
    (home / "project/pairs.jsonl").write_text("".join(json.dumps(pair) + "\n" for pair in WANTED))
    recipe = load_recipe(path, Surroundings(home / "project", ("tiny",)))
    source = locate(recipe.data.source, home, home / "project")
    splits = split(curate(recipe.data, source, Store(home / "store")), recipe.data.split, 17, Store(home / "store"))
    first = job_of(home, tiny_model, recipe, splits, method="full", max_steps=4, learning_rate=0.001)
    first = dataclasses.replace(first, settings=first.settings.model_copy(update={"root": home / "project"}))
    return prefer(dataclasses.replace(first, teacher=merge(first, train(first, tracker))))


def prefer(job: Job, **values: Any) -> Job:
    """The job with another `train` block, read as a recipe is."""
    block = {**TRAIN, "pairs": {"kind": "file", "path": "pairs.jsonl"}, **values}
    return dataclasses.replace(job, recipe=Recipe.model_validate({**job.recipe.model_dump(), "train": block}))


def gaps(path: Path, job: Job) -> torch.Tensor:
    """Log-odds of the right over the wrong answer of each correction."""
    loaded = load(path, CPU)
    renderer = Renderer.of(job.recipe.prompt, job.labels, loaded.tokenizer)
    found = torch.tensor(label_likelihoods(loaded, renderer, [pair["text"] for pair in WANTED]))
    right, wrong = ([job.labels.index(pair[side]) for pair in WANTED] for side in ("right", "wrong"))
    return found[range(3), right] - found[range(3), wrong]


@pytest.mark.parametrize("block", [{"lora": {"rank": 4}}, {"tune": "full", "learning_rate": 0.0005}])
def test_what_experts_prefer_becomes_likelier(job: Job, block: dict[str, Any]) -> None:
    job = prefer(job, **block)
    trained = train(job, tracker)
    losses = [point.loss for point in trained.record.losses]
    assert losses[0] == pytest.approx(math.log(2), abs=1e-4), "before the first step nothing is preferred"
    assert losses[-1] < 0.4
    assert (trained.record.method, trained.record.examples) == ("preference", 3)
    assert trained.record.form == ("weights" if "tune" in block else "adapter")
    assert job.teacher is not None
    merged = merge(job, trained)
    assert bool((gaps(merged.path, job) > gaps(job.teacher.path, job) + 0.5).all())
    assert [(o.role, o.name) for o in merged.record.origins][2:] == [("teacher", "tiny"), ("teacher", "tiny_reviews")]


def test_an_adapter_is_merged_into_the_weights_that_it_started_from(job: Job) -> None:
    still = prefer(job, max_steps=1, learning_rate=1e-12)
    merged, start = load(merge(still, train(still, tracker)).path, CPU), load(job.start.path, CPU)
    assert job.teacher is not None and job.start is job.teacher
    for name, weight in merged.model.state_dict().items():
        torch.testing.assert_close(weight, start.model.state_dict()[name], atol=0, rtol=0)


def test_the_loss_is_that_of_the_paper() -> None:
    found = torch.tensor([[-2.0, -3.0], [-1.0, -0.5]], requires_grad=True)
    before, tokens = torch.tensor([[-2.5, -2.0], [-1.0, -0.5]]), torch.tensor([2, 4])

    def loss(**values: Any) -> list[float]:
        spec = PreferenceTrain.model_validate({"method": "preference", "pairs": {"kind": "mistakes"}, **values})
        return [float(one) for one in preference_loss(found.detach(), before, tokens, spec)]

    def sigmoid(x: float) -> float:
        return 1 / (1 + math.exp(-x))

    assert loss(beta=0.5) == pytest.approx([-math.log(sigmoid(0.5 * (0.5 + 1.0))), math.log(2)])
    smooth = -0.9 * math.log(sigmoid(0.75)) - 0.1 * math.log(sigmoid(-0.75))
    assert loss(beta=0.5, label_smoothing=0.1)[0] == pytest.approx(smooth)
    assert loss(beta=0.5, truth_weight=2)[1] == pytest.approx(math.log(2) + 2 * 1.0 / 4)


def test_likelihoods_of_a_batch_are_those_of_each_answer_alone(job: Job) -> None:
    trainable = open_trainable(job.base.path, job.recipe.train, job.labels, CPU, 1)
    tokenizer = AutoTokenizer.from_pretrained(job.base.path)
    renderer = Renderer.of(job.recipe.prompt, job.labels, tokenizer)
    rows = pair_rows(pairs_of(job, job.recipe.train, CPU), renderer, tokenizer, 64)  # type: ignore[arg-type]
    with torch.no_grad():
        found, tokens = answer_likelihoods(trainable, PairBatches(0)(list(rows)))
        for i, row in enumerate(rows):
            for side in (0, 1):
                ids, labels = row["input_ids"][side], row["labels"][side]
                logs = trainable.model(torch.tensor([ids])).logits[0].float().log_softmax(-1)
                alone = sum(float(logs[at - 1, token]) for at, token in enumerate(labels) if token >= 0)
                assert float(found[i, side]) == pytest.approx(alone, abs=1e-3)
            assert int(tokens[i]) == sum(token >= 0 for token in row["labels"][0])


def test_the_models_own_mistakes_are_pairs(job: Job) -> None:
    own = prefer(job, pairs={"kind": "mistakes"})
    pairs = pairs_of(own, own.recipe.train, CPU)  # type: ignore[arg-type]
    loaded, rows = load(job.start.path, CPU), read_split(job.splits, "train")
    renderer = Renderer.of(job.recipe.prompt, job.labels, loaded.tokenizer)
    said = [job.labels[i] for i in np.argmax(label_likelihoods(loaded, renderer, [r.text for r in rows]), axis=1)]
    expected = [(row.text, row.label, answer) for row, answer in zip(rows, said, strict=True) if answer != row.label]
    assert 0 < len(expected) < len(rows)
    assert [(pair.right.text, pair.right.label, pair.wrong) for pair in pairs] == expected
    assert adapter_key(own) != adapter_key(job)


def test_kill_9_then_resume_gives_the_same_bits(job: Job, tmp_path: Path) -> None:
    job = prefer(job, max_steps=24, checkpoint_steps=5, batch_size=2)
    homes = []
    for name in ("one", "two"):
        settings = job.settings.model_copy(update={"home": tmp_path / name})
        homes.append(dataclasses.replace(job, settings=settings, store=Store.of(settings)))
    whole = train(homes[0], tracker)
    work = homes[1].store.root / "work" / adapter_key(homes[1])
    process = start("train", homes[1], tmp_path)
    while not any(int(p.name.rpartition("-")[2]) >= 5 for p in work.glob("checkpoint-*")):
        assert process.is_alive(), (tmp_path / "said").read_text()
        time.sleep(0.005)
    process.kill()
    process.join()
    resumed = train(homes[1], tracker)
    assert resumed.files == whole.files
    assert resumed.record.losses == whole.record.losses


def test_every_fault_of_the_pairs_is_told_and_an_edit_makes_another_model(job: Job, tmp_path: Path) -> None:
    root = tmp_path / "root"
    root.mkdir()
    other = dataclasses.replace(job, settings=job.settings.model_copy(update={"root": root}))
    held = read_split(job.splits, "test")[0]
    lines = [
        "{not json}",
        json.dumps({"text": "x", "right": "positive"}),
        json.dumps({"text": "x", "right": "positive", "wrong": "splendid"}),
        json.dumps({"text": "x", "right": "positive", "wrong": "Positive"}),
        json.dumps({"text": held.text.upper(), "right": "positive", "wrong": "neutral"}),
    ]
    (root / "pairs.jsonl").write_text("\n".join(lines))
    with pytest.raises(InvalidInput) as raised:
        train(other, tracker)
    for message in (
        "line 1: is no object", "line 2: is no object", "line 3: 'splendid' is no answer to classification",
        "line 4: right and wrong are the same", "line 5: its text is held out for validation or test",
    ):  # fmt: skip
        assert message in str(raised.value)
    before = adapter_key(other)
    (root / "pairs.jsonl").write_text(json.dumps(WANTED[0]))
    assert adapter_key(other) != before
    (root / "pairs.jsonl").write_text("")
    with pytest.raises(InvalidInput, match="holds no pair"):
        train(other, tracker)


def test_a_start_that_reads_another_prompt_is_refused(job: Job) -> None:
    prompt = job.recipe.prompt.model_copy(update={"after": "\nVerdict:"})
    other = dataclasses.replace(job, recipe=job.recipe.model_copy(update={"prompt": prompt}))
    with pytest.raises(InvalidInput, match="first reads another prompt: give this recipe the prompt of first"):
        train(other, tracker)


@pytest.mark.parametrize(
    ("block", "edit", "message"),
    [
        ("pairs: {kind: mistakes}, start: first", ("", ""), None),
        ("pairs: {kind: mistakes}, start: nobody", ("", ""), "train.start: no recipe 'nobody'; known: first, tiny_rev"),
        ("pairs: {kind: mistakes}, start: first", ("base: tiny", "base: far"), "is made of far, .*: set base: far"),
        (
            "pairs: {kind: mistakes}, start: first",
            ("method: lora, rank: 2, alpha: 4", "method: head"),
            "with a head and",
        ),
        ("pairs: {kind: mistakes}, start: tiny_reviews", ("", ""), "tiny_reviews is taught by tiny_reviews: a circle"),
        ("pairs: {kind: file, path: nowhere.jsonl}", ("", ""), "no such file"),
        ("pairs: {kind: file, path: ../../etc/passwd}", ("", ""), "leads out of the project"),
        ("pairs: {kind: mistakes}, top_layers: 1", ("", ""), "leave top_layers out"),
        ("pairs: {kind: mistakes}, tune: full, lora: {rank: 4}", ("", ""), "tune is full, which leaves lora without"),
        ("start: first", ("", ""), "train.preference.pairs: is required"),
    ],
)
def test_faults_of_a_preference_recipe(tmp_path: Path, block: str, edit: tuple[str, str], message: str | None) -> None:
    path = write_tiny_project(tmp_path)
    text = path.read_text()
    path.with_name("first.yaml").write_text(text.replace("tiny_reviews", "first", 1).replace(*edit))
    line = next(line for line in text.splitlines() if line.startswith("train:"))
    path.write_text(text.replace(line, f"train: {{method: preference, {block}}}"))
    around = Surroundings(tmp_path, ("tiny", "far"), path.parent)
    if message is None:
        assert load_recipe(path, around).train.method == "preference"
        return
    with pytest.raises(InvalidRecipe, match=message):
        load_recipe(path, around)
