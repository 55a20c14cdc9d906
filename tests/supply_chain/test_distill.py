"""A student learns from another recipe's specialist, from recipe to weights."""

import dataclasses
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from supply_chain.artifacts import merge
from supply_chain.data.curate import curate
from supply_chain.data.examples import read_split
from supply_chain.data.source import locate
from supply_chain.data.split import split
from supply_chain.errors import InvalidInput, InvalidRecipe
from supply_chain.inference import load
from supply_chain.job import Job
from supply_chain.keys import adapter_key
from supply_chain.prompt import Renderer
from supply_chain.recipe import load_recipe
from supply_chain.recipe.distill import Cut, LogitsObjective, SequenceObjective
from supply_chain.recipe.part import Surroundings
from supply_chain.scoring import label_likelihoods
from supply_chain.store import Store
from supply_chain.teaching import block_influence, distillation_loss, layers_to_keep, taught, teacher_answers
from supply_chain.training import train
from tests.conftest import write_tiny_project
from tests.supply_chain.test_methods import job_of
from tests.supply_chain.test_training import CPU, tracker

TEACHER = {"method": "head", "tune": "full", "max_steps": 50, "learning_rate": 0.001}
STUDENT = {
    "method": "distill", "teacher": {"recipe": "big"}, "student": {"layers": 1}, "max_steps": 30, "learning_rate": 0.001
}  # fmt: skip


@pytest.fixture(scope="module")
def taught_job(tmp_path_factory: pytest.TempPathFactory, tiny_model: Path) -> Job:
    home = tmp_path_factory.mktemp("distill")
    recipe = load_recipe(write_tiny_project(home / "project"), Surroundings(home / "project", ("tiny",)))
    source = locate(recipe.data.source, home, home / "project")
    splits = split(curate(recipe.data, source, Store(home / "store")), recipe.data.split, 17, Store(home / "store"))
    big = job_of(home, tiny_model, recipe, splits, **TEACHER)
    teacher = merge(big, train(big, tracker))
    small = job_of(home, tiny_model, recipe, splits, **STUDENT)
    return dataclasses.replace(small, teacher=teacher)


def test_a_cut_student_learns_what_its_teacher_says(taught_job: Job) -> None:
    trained = train(taught_job, tracker)
    assert trained.record.teacher == taught_job.teacher.digest  # type: ignore[union-attr]
    assert (len(trained.record.layers), trained.record.form, trained.record.head) == (1, "weights", "last")
    merged = merge(taught_job, trained)
    told = [(origin.role, origin.name, origin.license) for origin in merged.record.origins]
    own = [("base", "tiny", "CC0-1.0"), ("data", "tiny_reviews", "CC0-1.0")]
    assert told == [*own, *(("teacher", *rest) for _, *rest in own)]
    student = load(merged.path, CPU)
    assert len(student.model.get_decoder().layers) == 1
    rows = read_split(taught_job.splits, "test")
    renderer = Renderer.of(taught_job.recipe.prompt, taught_job.labels, student.tokenizer)
    found = torch.tensor(label_likelihoods(student, renderer, [row.text for row in rows]))
    teacher = load(taught_job.teacher.path, CPU)  # type: ignore[union-attr]
    wanted = torch.tensor(label_likelihoods(teacher, renderer, [row.text for row in rows]))
    agreement = float((found.argmax(1) == wanted.argmax(1)).float().mean())
    assert agreement > 0.5


def test_answers_are_computed_once_and_are_those_of_the_served_teacher(taught_job: Job) -> None:
    stored = teacher_answers(taught_job, CPU)
    answers = np.load(stored.path / "answers.npy")
    rows = read_split(taught_job.splits, "train")
    assert answers.shape == (len(rows), 3)
    np.testing.assert_allclose(np.exp(answers).sum(axis=1), 1, atol=1e-5)
    truth = np.array([taught_job.labels.index(row.label) for row in rows])
    assert stored.record.accuracy == pytest.approx((answers.argmax(1) == truth).mean())
    before = stored.path.stat().st_mtime_ns
    assert teacher_answers(taught_job, CPU).path.stat().st_mtime_ns == before
    assert adapter_key(taught_job) != adapter_key(dataclasses.replace(taught_job, teacher=None))


def test_disagreement_drops_keeps_or_follows(taught_job: Job) -> None:
    stored = teacher_answers(taught_job, CPU)
    rows = read_split(taught_job.splits, "train")
    said = [taught_job.labels[i] for i in np.load(stored.path / "answers.npy").argmax(1)]

    def labels(**values: Any) -> list[str]:
        found = taught(taught_job, stored, SequenceObjective(kind="sequence", **values))
        assert found.likelihoods is None
        return [row.label for row in found.examples]

    agreed = [row.label for row, label in zip(rows, said, strict=True) if row.label == label]
    assert 0 < len(agreed) < len(rows)
    assert labels(disagreement="drop") == agreed
    assert labels(disagreement="truth") == [row.label for row in rows]
    assert labels(disagreement="teacher") == said
    assert labels(disagreement="teacher", confidence=0.999999) == [row.label for row in rows]


def test_the_loss_is_the_weighted_sum_of_both_parts() -> None:
    logits, truth = torch.tensor([[2.0, 0.0], [0.0, 1.0]]), torch.tensor([0, 0])
    teacher = torch.tensor([[0.9, 0.1], [0.5, 0.5]]).log()
    hard = float(torch.nn.functional.cross_entropy(logits, truth, reduction="sum"))

    def loss(weight: float, t: float) -> float:
        return float(distillation_loss(logits, truth, teacher, LogitsObjective(truth_weight=weight, temperature=t), 0))

    assert loss(1, 2) == pytest.approx(hard)
    p = teacher.exp()
    soft = float((p * (teacher - logits.log_softmax(-1))).sum())
    assert loss(0, 1) == pytest.approx(soft)
    assert loss(0.25, 1) == pytest.approx(0.25 * hard + 0.75 * soft)
    same = distillation_loss(teacher * 3 + 1, truth, (teacher * 3).log_softmax(-1), LogitsObjective(truth_weight=0), 0)
    assert float(same) == pytest.approx(0, abs=1e-5)


def test_the_layer_that_changes_nothing_goes_first(taught_job: Job, tmp_path: Path) -> None:
    loaded = load(taught_job.teacher.path, CPU)  # type: ignore[union-attr]
    still = loaded.model.get_decoder().layers[0]
    for module in (still.self_attn.o_proj, still.mlp.down_proj):
        torch.nn.init.zeros_(module.weight)
    renderer = Renderer.of(taught_job.recipe.prompt, taught_job.labels, loaded.tokenizer)
    scores = block_influence(loaded, renderer, ["the phone is great", "it broke"])
    assert scores[0] == pytest.approx(0, abs=1e-5)
    assert scores[1] > 0.001
    with pytest.raises(InvalidInput, match="layers is 2, the teacher has 2"):
        layers_to_keep(taught_job, Cut(layers=2), CPU, tmp_path)


def test_a_teacher_with_other_labels_is_refused(taught_job: Job) -> None:
    record = taught_job.splits.record.model_copy(update={"labels": ["negative", "neutral", "superb"]})
    other = dataclasses.replace(taught_job, splits=dataclasses.replace(taught_job.splits, record=record))
    with pytest.raises(InvalidInput, match="know different labels"):
        teacher_answers(other, CPU)


@pytest.mark.parametrize(
    ("block", "message"),
    [
        ("teacher: {recipe: nobody}", "no recipe 'nobody'; known: small, tiny_reviews"),
        ("teacher: {base: nothing}", "unknown base model 'nothing'; known: tiny"),
        ("teacher: {recipe: small}", "small is taught by small: a circle"),
        ("teacher: {recipe: tiny_reviews}, student: {layers: 1}, base", "layers cut from the teacher read its vocab"),
        ("teacher: {}", "name one teacher: recipe, base or endpoint"),
        ("teacher: {recipe: tiny_reviews}, objective: {kind: logits, temprature: 1}", "did you mean temperature"),
    ],
)
def test_faults_of_a_teacher_are_found_before_anything_is_fetched(tmp_path: Path, block: str, message: str) -> None:
    path = write_tiny_project(tmp_path)
    text = path.read_text().replace("tiny_reviews\n", "small\n", 1)
    if block.endswith(", base"):
        block, text = block.removesuffix(", base"), text.replace("base: tiny", "base: other")
    line = next(line for line in text.splitlines() if line.startswith("train:"))
    student = path.with_name("small.yaml")
    student.write_text(text.replace(line, f"train: {{method: distill, {block}}}"))
    bases = ("tiny", "other") if "other" in text else ("tiny",)
    with pytest.raises(InvalidRecipe, match=message):
        load_recipe(student, Surroundings(tmp_path, bases, path.parent))
