"""Students that write learn from teachers that write: their answers, or their likeliest tokens."""

import copy
import dataclasses
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file
from torch.nn.functional import cross_entropy, kl_div
from transformers import AutoTokenizer

from supply_chain.artifacts import merge
from supply_chain.data.curate import curate
from supply_chain.data.examples import read_split
from supply_chain.data.source import locate
from supply_chain.data.split import split
from supply_chain.encode import answer_room, training_rows
from supply_chain.errors import InvalidInput, InvalidRecipe
from supply_chain.generation import write
from supply_chain.inference import has_head, load
from supply_chain.job import Job
from supply_chain.prompt import Renderer
from supply_chain.recipe import Recipe, load_recipe
from supply_chain.recipe.distill import LogitsObjective
from supply_chain.recipe.part import Surroundings
from supply_chain.settings import Settings
from supply_chain.store import Store
from supply_chain.training import train
from supply_chain.verdicts import Verdict, read_verdicts
from supply_chain.word_teaching import (
    check_vocabulary,
    token_answers,
    token_loss,
    top_distillation_loss,
    written_answers,
)
from tests.evals.test_writing import RECIPE, write_project
from tests.supply_chain.test_methods import job_of
from tests.supply_chain.test_training import CPU, tracker

STUDENT = {"method": "distill", "teacher": {"recipe": "big"}, "answers": "words", "student": {"layers": 1}}
LOOP = {"batch_size": 8, "max_tokens": 128, "learning_rate": 0.003}


def student_of(job: Job, **values: Any) -> Job:
    """The job with another `train` block, read as a recipe is."""
    recipe = Recipe.model_validate({**job.recipe.model_dump(), "train": {**STUDENT, **LOOP, **values}})
    return dataclasses.replace(job, recipe=recipe)


@pytest.fixture(scope="module")
def fluent(tmp_path_factory: pytest.TempPathFactory, tiny_model: Path) -> Path:
    """`tiny_model` with embeddings so large that it can be sure of a token while they stay as they are."""
    path = tmp_path_factory.mktemp("fluent") / "tiny"
    shutil.copytree(tiny_model, path)
    weights = load_file(path / "model.safetensors")
    weights["model.embed_tokens.weight"] *= 15
    save_file(weights, path / "model.safetensors", {"format": "pt"})
    return path


@pytest.fixture(scope="module")
def job(tmp_path_factory: pytest.TempPathFactory, fluent: Path) -> Job:
    """A student's job whose teacher has learned most of a made-up order's form."""
    home = tmp_path_factory.mktemp("words")
    short = RECIPE.replace("label: {column: fields}", "label: {column: fields, names: [item]}")
    recipe = write_project(home / "project", short)
    settings = Settings(root=home / "project", home=home)
    curated = curate(recipe.data, locate(recipe.data.source, settings.downloads, settings.root), Store.of(settings))
    splits = split(curated, recipe.data.split, 17, Store.of(settings))
    big = job_of(home, fluent, recipe, splits, **{**LOOP, "method": "full", "max_steps": 40})
    return student_of(dataclasses.replace(big, teacher=merge(big, train(big, tracker))))


def test_the_kept_tokens_are_the_teachers_likeliest_at_every_place(job: Job) -> None:
    found = token_answers(job, 5, 128, CPU)
    assert token_answers(job, 5, 128, CPU).path.stat().st_mtime_ns == found.path.stat().st_mtime_ns
    offsets, tokens, kept = (np.load(found.path / f"{n}.npy") for n in ("offsets", "tokens", "likelihoods"))
    assert job.teacher is not None
    teacher, rows = load(job.teacher.path, CPU), read_split(job.splits, "train")
    renderer = Renderer.of(job.recipe.prompt, job.labels, teacher.tokenizer, "extraction")
    for i, row in enumerate(training_rows(rows, renderer, teacher.tokenizer, 128).select(range(3))):
        due = [place - 1 for place, token in enumerate(row["labels"]) if token >= 0]
        with torch.inference_mode():
            logs = teacher.model(torch.tensor([row["input_ids"]])).logits[0, due].log_softmax(-1)
        assert offsets[i + 1] - offsets[i] == len(due)
        mine = slice(offsets[i], offsets[i + 1])
        np.testing.assert_allclose(kept[mine], logs.topk(5).values, atol=1e-4)
        np.testing.assert_allclose(logs.gather(1, torch.tensor(tokens[mine]).long()), kept[mine], atol=1e-4)
    record = found.record
    assert (record.rows, record.answer_tokens, record.top_tokens) == (len(rows), len(tokens), 5)
    assert record.covered == pytest.approx(np.exp(kept).sum(1).mean())
    assert 0.3 < record.accuracy < 1


def test_the_loss_mixes_both_parts_over_the_rows_of_the_batch(job: Job) -> None:
    torch.manual_seed(0)
    logits, truth, teacher = torch.randn(4, 6), torch.tensor([0, 5, 2, 2]), torch.randn(4, 6).log_softmax(-1)
    order = teacher.topk(6)

    def loss(weight: float, t: float, top: int) -> float:
        spec = LogitsObjective(truth_weight=weight, temperature=t)
        return float(top_distillation_loss(logits, truth, order.indices[:, :top], order.values[:, :top], spec, 0))

    hard = float(cross_entropy(logits, truth, reduction="sum"))
    soft = float(kl_div((logits / 2).log_softmax(-1), (teacher / 2).log_softmax(-1), reduction="sum", log_target=True))
    assert loss(1, 2, 3) == pytest.approx(hard)
    assert loss(0, 2, 6) == pytest.approx(4 * soft, rel=1e-4)
    assert loss(0.25, 2, 6) == pytest.approx(0.25 * hard + 3 * soft, rel=1e-4)
    likeliest = float(cross_entropy(logits, order.indices[:, 0], reduction="sum"))
    assert loss(0, 1, 1) == pytest.approx(likeliest), "one token kept is the teacher's answer as truth"

    found = token_answers(job, 5, 128, CPU)
    offsets = np.load(found.path / "offsets.npy")
    lengths = np.diff(offsets).tolist()
    one = token_loss(found, LogitsObjective(truth_weight=0), 0)

    def of(*rows: int) -> float:
        size = sum(lengths[row] for row in rows)
        numbers = torch.cat([torch.full((lengths[row],), row) for row in rows])
        return float(one(torch.eye(size, 512), torch.zeros(size).long(), numbers))

    even = token_loss(found, LogitsObjective(truth_weight=1), 0)
    flat = torch.zeros(lengths[7], 512)
    alone = float(even(flat, flat.argmax(1), torch.full((lengths[7],), 7)))
    assert alone == pytest.approx(lengths[7] * np.log(512), rel=1e-5)
    kept, tokens = (torch.from_numpy(np.load(found.path / f"{n}.npy")) for n in ("likelihoods", "tokens"))
    at = [*range(offsets[7], offsets[8]), *range(offsets[2], offsets[3]), *range(offsets[2], offsets[3])]
    expected = top_distillation_loss(
        torch.eye(len(at), 512), torch.zeros(len(at)).long(), tokens[at].long(), kept[at],
        LogitsObjective(truth_weight=0), 0,
    )  # fmt: skip
    assert of(7, 2, 2) == pytest.approx(float(expected), rel=1e-5), "a row may stand twice in a batch"


def test_a_cut_student_that_writes_comes_close_to_its_teacher(job: Job) -> None:
    whole = {"kind": "logits", "truth_weight": 0, "top_tokens": 512}
    taught = train(student_of(job, max_steps=30, objective=whole), tracker)
    assert (taught.record.head, taught.record.form, len(taught.record.layers)) == (None, "weights", 1)
    losses = [point.loss for point in taught.record.losses]
    assert losses[-1] < losses[0] / 5
    student = load(merge(job, taught).path, CPU)
    assert len(student.model.get_decoder().layers) == 1
    assert not has_head(student.model)


def test_a_student_learns_the_answers_that_its_teacher_writes(job: Job) -> None:
    found = written_answers(job, CPU)
    said, rows = read_verdicts(found.path), read_split(job.splits, "train")
    assert job.teacher is not None
    teacher = load(job.teacher.path, CPU)
    renderer = Renderer.of(job.recipe.prompt, job.labels, teacher.tokenizer, "extraction")
    (first,) = write(teacher, [renderer.context(rows[0].text)], answer_room(rows, renderer, teacher.tokenizer),
                     renderer.complete)  # fmt: skip
    assert said[0] == Verdict(renderer.read(first.text), pytest.approx(np.exp(first.likelihood), abs=1e-4))
    readable = sum(bool(verdict.answer) for verdict in said)
    assert readable > 0
    agreed = sum(v.answer == row.label for v, row in zip(said, rows, strict=True))
    assert found.record.accuracy == pytest.approx(agreed / len(rows))
    follow = student_of(job, max_steps=1, objective={"kind": "sequence", "disagreement": "teacher"})
    assert train(follow, tracker).record.examples == readable


def test_different_vocabularies_are_found(tiny_model: Path) -> None:
    mine = AutoTokenizer.from_pretrained(tiny_model)
    other = copy.deepcopy(mine)
    other.add_tokens(["kilogram"])
    check_vocabulary(mine, mine, "logits")
    with pytest.raises(InvalidInput, match=r"different vocabularies .*take objective: {kind: sequence}.*GOLDTrainer"):
        check_vocabulary(mine, other, "logits")


FAR, MANY = ("base: tiny", "base: far"), ("task: extraction", "task: multilabel")


@pytest.mark.parametrize(
    ("block", "edits", "message"),
    [
        ("teacher: {base: near}", (), None),
        (
            "teacher: {base: far}",
            (),
            r"tiny reads the vocabulary t, .* far reads far .*made of near; TRL's GOLD",
        ),
        ("teacher: {recipe: big}", (FAR,), "reads the vocabulary t, its teacher far reads far"),
        ("teacher: {base: far}, objective: {kind: sequence}", (), None),
        (
            "teacher: {recipe: big}",
            (MANY,),
            "big is for multilabel, this recipe for",
        ),
        ("teacher: {recipe: big}, answers: head", (), "a head answers with one label of classification"),
    ],
)
def test_faults_are_found_before_anything_is_fetched(
    tmp_path: Path, block: str, edits: tuple[tuple[str, str], ...], message: str | None
) -> None:
    write_project(tmp_path / "p")
    line = next(line for line in RECIPE.splitlines() if line.startswith("train:"))
    big = RECIPE.replace("tiny_orders", "big", 1)
    for old, new in edits:
        big = big.replace(old, new)
    (tmp_path / "p/big.yaml").write_text(big)
    path = tmp_path / "p/tiny_orders.yaml"
    path.write_text(RECIPE.replace(line, f"train: {{method: distill, {block}}}"))
    around = Surroundings(tmp_path / "p", ("tiny", "near", "far"), tmp_path / "p", {"tiny": "t", "near": "t"})
    if message is None:
        assert load_recipe(path, around).train.answers == "words"  # type: ignore[union-attr]
        return
    with pytest.raises(InvalidRecipe, match=message):
        load_recipe(path, around)


def test_a_teacher_with_a_head_has_no_words(tmp_path: Path, tiny_model: Path, job: Job) -> None:
    headed = tmp_path / "headed"
    from supply_chain.trainable import label_model

    label_model(tiny_model, ["a", "b"]).save_pretrained(headed)
    AutoTokenizer.from_pretrained(tiny_model).save_pretrained(headed)
    assert job.teacher is not None
    other = dataclasses.replace(job, teacher=dataclasses.replace(job.teacher, path=headed, files={}, digest="0" * 64))
    with pytest.raises(InvalidInput, match="a teacher with a head of labels cannot write answers for extraction"):
        token_answers(other, 5, 128, CPU)
