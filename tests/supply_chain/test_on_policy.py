"""A student that writes is moved towards its teacher on what it writes itself."""

import dataclasses
import time
from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import AutoTokenizer

from supply_chain.artifacts import merge
from supply_chain.data.curate import curate
from supply_chain.data.examples import read_split
from supply_chain.data.source import locate
from supply_chain.data.split import split
from supply_chain.encode import answer_room, training_rows
from supply_chain.errors import InvalidInput, InvalidRecipe
from supply_chain.inference import load
from supply_chain.job import Job
from supply_chain.keys import adapter_key
from supply_chain.label_loss import label_smoothed
from supply_chain.on_policy import check_same_words, context_rows
from supply_chain.plan import Plan
from supply_chain.prompt import Renderer
from supply_chain.recipe import load_recipe
from supply_chain.recipe.part import Surroundings
from supply_chain.recipe.prompt import PlainPrompt
from supply_chain.settings import Settings
from supply_chain.store import Store
from supply_chain.tracking import NoTracker
from supply_chain.training import train
from tests.evals.test_generation import RECIPE as NOTES
from tests.evals.test_generation import write_notes
from tests.evals.test_writing import RECIPE, write_project
from tests.supply_chain.driving import start
from tests.supply_chain.test_methods import job_of
from tests.supply_chain.test_training import CPU, tracker
from tests.supply_chain.test_word_teaching import LOOP, fluent, job, student_of  # noqa: F401 (fixtures)

OWN = {"objective": {"kind": "on_policy"}, "learning_rate": 0.002, "batch_size": 8}


def plan_of(job: Job, work: Path) -> Plan:  # noqa: F811
    tokenizer = AutoTokenizer.from_pretrained(job.base.path)
    renderer = Renderer.of(job.recipe.prompt, job.labels, tokenizer, job.recipe.task)
    examples = read_split(job.splits, "train")
    rows = context_rows(training_rows(examples, renderer, tokenizer, 128))
    return Plan(job, job.recipe.train, tokenizer, renderer, rows, CPU, work, NoTracker(), label_smoothed(0), [1],
                answer_tokens=answer_room(examples, renderer, tokenizer))  # fmt: skip


def test_the_loss_is_the_divergence_on_what_the_student_writes_after_our_own_contexts(
    job: Job,  # noqa: F811
    tmp_path: Path,
) -> None:
    for beta in (1.0, 0.0):
        objective = {"kind": "on_policy", "beta": beta, "temperature": 1.5}
        plan = plan_of(student_of(job, max_steps=1, **{**OWN, "objective": objective}), tmp_path)
        trainable = plan.opened()
        trainer: Any = plan.trainer(trainable, args=plan.arguments(8))
        rows = [plan.rows[0], plan.rows[1]]
        trainable.model.train()
        given = trainer._prepare_inputs(rows)
        again = trainer._prepare_inputs(rows)
        assert torch.equal(given["completion_ids"], again["completion_ids"]), "drawn by seed and step alone"
        texts = {row.text for row in read_split(job.splits, "train")[:2]}
        contexts = {
            plan.tokenizer.decode(ids[mask.bool()])
            for ids, mask in zip(given["prompt_ids"], given["prompt_mask"], strict=True)
        }
        assert contexts == {plan.renderer.context(text) for text in texts}
        assert given["completion_ids"].shape[1] <= plan.answer_tokens

        whole = torch.cat([given["prompt_ids"], given["completion_ids"]], 1)
        mask = torch.cat([given["prompt_mask"], given["completion_mask"]], 1)
        at = slice(given["prompt_ids"].shape[1] - 1, -1)
        with torch.no_grad():
            student, teacher = (
                (model(whole, attention_mask=mask).logits[:, at].float() / 1.5).log_softmax(-1)
                for model in (trainable.model, load(job.teacher.path, CPU).model)  # type: ignore[union-attr]
            )
        p, q = (student, teacher) if beta else (teacher, student)
        tokens = given["completion_mask"].bool()
        expected = (p.exp() * (p - q)).sum(-1)[tokens].mean()
        found = trainer.compute_loss(trainable.model, given).detach()
        assert float(found) == pytest.approx(float(expected), rel=2e-3)


def test_a_student_cut_from_its_teacher_comes_closer_to_it_by_its_own_answers(job: Job) -> None:  # noqa: F811
    taught = train(student_of(job, max_steps=40, **OWN), tracker)
    record = taught.record
    assert (record.head, record.form, len(record.layers), record.method) == (None, "weights", 1, "distill")
    assert record.teacher == job.teacher.digest  # type: ignore[union-attr]
    losses = [point.loss for point in record.losses]
    assert len(losses) == 40
    assert sum(losses[-5:]) < sum(losses[:5]) / 2
    assert not {"README.md", "training_args.bin"} & set(taught.files), "no card and no pickle beside the weights"
    student = load(merge(job, taught).path, CPU)
    assert len(student.model.get_decoder().layers) == 1


def test_a_killed_run_goes_on_to_the_same_bits_and_parts_of_a_batch_add_up(
    job: Job,  # noqa: F811
    tmp_path: Path,
) -> None:
    rows = len(read_split(job.splits, "train"))
    steps = 2 * -(-rows // 32) + 2
    own = student_of(job, max_steps=steps, checkpoint_steps=1, **{**OWN, "batch_size": 32})
    whole = train(dataclasses.replace(own, store=Store(tmp_path / "whole")), tracker)
    killed = dataclasses.replace(own, store=Store(tmp_path / "killed"))
    work = killed.store.root / "work" / adapter_key(killed)
    for step in (2, steps - 2):
        process = start("train", killed, tmp_path)
        while not (work / f"checkpoint-{step}/complete.json").exists():
            assert process.exitcode is None, (tmp_path / "said").read_text()[-2000:]
            time.sleep(0.005)
        process.kill()
        process.join()
    resumed = train(killed, tracker)
    assert resumed.files == whole.files
    assert resumed.record.losses == whole.record.losses

    parts = dataclasses.replace(own, store=Store(tmp_path / "parts"))
    (parts.store.workdir(adapter_key(parts)) / "micro_batch.json").write_text("8")
    found = train(parts, tracker).record
    assert (found.micro_batch, whole.record.micro_batch) == (8, 32)
    assert found.losses[0].loss == pytest.approx(whole.record.losses[0].loss, rel=1e-4)


def test_every_epoch_takes_all_rows_in_whole_batches() -> None:
    from supply_chain.on_policy_trainer import WholeBatches

    epoch = 0
    drawn = WholeBatches([5, 9, 5, 7, 5, 9, 3], 3, 2, 17, lambda: epoch)
    first = list(drawn)
    assert len(first) == len(drawn) == 18
    batches = [first[i : i + 3] for i in range(0, 18, 3)]
    assert batches[0::2] == batches[1::2], "each batch twice, once for each of its parts"
    order = [row for batch in batches[0::2] for row in batch]
    assert sorted(order[:7]) == list(range(7))
    assert order[7:] == order[:2], "filled up from the epoch's beginning"
    assert list(drawn) == first, "a resumed epoch has the same rows"
    epoch = 1
    assert list(drawn) != first
    assert list(WholeBatches([4, 4], 5, 1, 17, lambda: 0))[2:] == list(WholeBatches([4, 4], 5, 1, 17, lambda: 0))[:3]


def test_arithmetic_is_chosen_by_steps_of_its_own_and_labels_can_be_measured(
    tmp_path: Path, tiny_model: Path, tiny_recipe: Any, tiny_splits: Any
) -> None:
    block = {
        "method": "distill", "teacher": {"base": "tiny"}, "answers": "words", "objective": {"kind": "on_policy"},
        "max_steps": 3, "stopping": {"every_steps": 2},
    }  # fmt: skip
    own = job_of(tmp_path, tiny_model, tiny_recipe, tiny_splits, **block)
    own = dataclasses.replace(own, teacher=own.base, settings=Settings(home=tmp_path, threads=1))
    record = train(own, tracker).record
    assert (record.compute.device, record.compute.threads, record.steps) == ("cpu", 1, 3)
    assert [point.step for point in record.validation] == [2, 3]
    assert record.losses[0].loss == pytest.approx(0, abs=1e-3), "the teacher is what it was itself"


def test_free_text_is_learned_from_a_base_model(tmp_path: Path, tiny_model: Path) -> None:
    recipe = write_notes(tmp_path / "project")
    source = locate(recipe.data.source, tmp_path, tmp_path / "project")
    store = Store(tmp_path / "store")
    splits = split(curate(recipe.data, source, store), recipe.data.split, 17, store)
    block = {"method": "distill", "teacher": {"base": "tiny"}, "answers": "words", "max_steps": 2, "max_tokens": 128}
    for objective in ({"kind": "on_policy"}, {"kind": "logits"}):
        own = job_of(tmp_path, tiny_model, recipe, splits, **{**block, "objective": objective})
        assert train(dataclasses.replace(own, teacher=own.base), tracker).record.steps == 2


def test_a_teacher_that_reads_otherwise_is_refused_before_a_step(job: Job) -> None:  # noqa: F811
    check_same_words(job)
    other = job.recipe.model_copy(update={"prompt": PlainPrompt(after="\nParts:")})
    with pytest.raises(InvalidInput, match=r"asked '.*Parts:', its teacher '.*Fields:': give both recipes the same"):
        check_same_words(dataclasses.replace(job, recipe=other))
    two = dataclasses.replace(
        student_of(job, **OWN), settings=job.settings.model_copy(update={"processes": 2})
    )  # fmt: skip
    with pytest.raises(InvalidInput, match=r"train\.objective on_policy trains in one process"):
        train(two, tracker)


ON = "objective: {kind: on_policy}"
HERE = ("task: extraction", "task: extraction")


@pytest.mark.parametrize(
    ("block", "edit", "message"),
    [
        (f"teacher: {{base: near}}, {ON}", HERE, None),
        (f"teacher: {{recipe: big}}, {ON}", HERE, None),
        (f"teacher: {{base: far}}, {ON}", HERE, r"objective on_policy: tiny reads the vocabulary t, .*kind: sequence"),
        (f"teacher: {{recipe: big}}, {ON}", ('"\\nFields:"', '"\\nF:"'), "big is asked with another prompt"),
        (f"teacher: {{base: near}}, {ON}, answers: head", HERE, "a head answers with one label"),
        (f"teacher: {{base: near}}, {ON}, top_layers: 1", HERE, "top_layers keeps the states of given texts"),
        (f"teacher: {{base: near}}, {ON}, label_smoothing: 0.1", HERE, "smooths the truth, which on_policy does not"),
        ("teacher: {base: near}, objective: {kind: on_policy, beta: 2}", HERE, "must be at most 1"),
        (
            f"teacher: {{endpoint: {{url: 'https://x.org/v1', model: m, zone: any, license: proprietary}}}}, {ON}",
            HERE,
            "an endpoint gives answers, no distributions",
        ),
    ],
)
def test_faults_are_found_before_anything_is_fetched(
    tmp_path: Path, block: str, edit: tuple[str, str], message: str | None
) -> None:
    write_project(tmp_path / "p")
    line = next(line for line in RECIPE.splitlines() if line.startswith("train:"))
    (tmp_path / "p/big.yaml").write_text(RECIPE.replace("tiny_orders", "big", 1).replace(*edit))
    path = tmp_path / "p/tiny_orders.yaml"
    path.write_text(RECIPE.replace(line, f"train: {{method: distill, {block}}}"))
    around = Surroundings(tmp_path / "p", ("tiny", "near", "far"), tmp_path / "p", {"tiny": "t", "near": "t"})
    if message is None:
        assert load_recipe(path, around).train.objective.kind == "on_policy"  # type: ignore[union-attr]
        return
    with pytest.raises(InvalidRecipe, match=message):
        load_recipe(path, around)


def test_a_classifier_with_a_head_writes_nothing_to_learn_from(tmp_path: Path) -> None:
    from tests.conftest import write_tiny_project

    path = write_tiny_project(tmp_path)
    line = next(line for line in path.read_text().splitlines() if line.startswith("train:"))
    path.write_text(path.read_text().replace(line, f"train: {{method: distill, teacher: {{base: tiny}}, {ON}}}"))
    with pytest.raises(InvalidRecipe, match="not one with a head: set answers: words"):
        load_recipe(path, Surroundings(tmp_path, ("tiny",), path.parent, {"tiny": "t"}))
    path.write_text(path.read_text().replace("on_policy}", "on_policy}, answers: words"))
    assert load_recipe(path, Surroundings(tmp_path, ("tiny",))).train.answers == "words"  # type: ignore[union-attr]


@pytest.mark.parametrize(
    ("block", "message"),
    [
        (
            "teacher: {base: tiny}, objective: {kind: sequence}",
            "sequence compares answers, task is generation: take kind",
        ),
        (
            "teacher: {endpoint: {url: 'https://x.org/v1', model: m, zone: any, license: proprietary}}, "
            "objective: {kind: sequence}",
            "a teacher behind an endpoint does not teach generation",
        ),
    ],
)
def test_free_texts_are_not_compared(tmp_path: Path, block: str, message: str) -> None:
    write_notes(tmp_path / "p")
    line = next(line for line in NOTES.splitlines() if line.startswith("train:"))
    (tmp_path / "p/tiny_notes.yaml").write_text(NOTES.replace(line, f"train: {{method: distill, {block}}}"))
    with pytest.raises(InvalidRecipe, match=message):
        load_recipe(
            tmp_path / "p/tiny_notes.yaml", Surroundings(tmp_path / "p", ("tiny",), tmp_path / "p", {"tiny": "t"})
        )
