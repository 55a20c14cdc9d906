"""Several processes train what one trains: the same batches, and so the same losses."""

import dataclasses
import sys
import time
from pathlib import Path

import psutil
import pytest
import torch
from safetensors.torch import load_file

from supply_chain.errors import CannotTrain, InvalidInput
from supply_chain.job import Job
from supply_chain.job_file import read_job, write_job
from supply_chain.keys import adapter_key
from supply_chain.recipe import Recipe
from supply_chain.records import Splits, Trained
from supply_chain.store import Stored
from supply_chain.together import agreed, alone, leader_first, leads, through
from supply_chain.training import train
from tests.supply_chain.driving import start
from tests.supply_chain.test_methods import job_of
from tests.supply_chain.test_training import tracker

HEAD = {"method": "head", "tune": "full", "top_layers": 1, "batch_size": 16, "max_steps": 14, "checkpoint_steps": 3,
        "learning_rate": 0.001, "stopping": {"every_steps": 5, "patience": 9}}  # fmt: skip


def together(job: Job, processes: int = 2) -> Job:
    return dataclasses.replace(job, settings=job.settings.model_copy(update={"processes": processes}))


def same(job: Job, tmp_path: Path) -> None:
    two = train(together(job), tracker)
    elsewhere = dataclasses.replace(job, store=type(job.store)(tmp_path / "elsewhere"))
    one = train(elsewhere, tracker)
    assert two.key == one.key, "processes are the machine's business, not the recipe's"
    assert two.record.steps == one.record.steps
    assert (two.record.examples, two.record.micro_batch) == (one.record.examples, one.record.micro_batch // 2)
    assert [p.loss for p in two.record.losses] == pytest.approx([p.loss for p in one.record.losses], rel=1e-4)
    assert two.record.validation == one.record.validation
    assert set(two.files) == set(one.files)
    name = next(name for name in one.files if name.endswith(".safetensors"))
    before, after = load_file(one.path / name), load_file(two.path / name)
    assert all(torch.allclose(before[key], after[key], atol=1e-3) for key in before)


def test_two_processes_lose_what_one_loses(
    tmp_path: Path, tiny_model: Path, tiny_recipe: Recipe, tiny_splits: Stored[Splits]
) -> None:
    same(job_of(tmp_path / "home", tiny_model, tiny_recipe, tiny_splits, **HEAD), tmp_path)


@pytest.mark.slow
def test_two_processes_learn_the_same_adapter(
    tmp_path: Path, tiny_model: Path, tiny_recipe: Recipe, tiny_splits: Stored[Splits]
) -> None:
    block = {"method": "lora", "rank": 2, "batch_size": 16, "max_steps": 12, "max_tokens": 64}
    same(job_of(tmp_path / "home", tiny_model, tiny_recipe, tiny_splits, **block), tmp_path)


@pytest.mark.slow
def test_killed_processes_leave_none_behind_and_resume_to_the_same_bits(
    tmp_path: Path, tiny_model: Path, tiny_recipe: Recipe, tiny_splits: Stored[Splits]
) -> None:
    whole = train(together(job_of(tmp_path / "one", tiny_model, tiny_recipe, tiny_splits, **HEAD)), tracker)
    job = together(job_of(tmp_path / "two", tiny_model, tiny_recipe, tiny_splits, **HEAD))
    work = job.store.root / "work" / adapter_key(job)
    process = start("train", job, tmp_path)
    while not (work / "checkpoint-6/complete.json").exists():
        assert process.exitcode is None
        time.sleep(0.005)
    mine = psutil.Process(process.pid).children(recursive=True)
    assert len(mine) >= 3
    process.kill()
    process.join()
    left = psutil.wait_procs(mine, timeout=30)[1]
    assert not [p for p in left if p.status() != psutil.STATUS_ZOMBIE]
    resumed = train(job, tracker)
    assert resumed.files == whole.files
    assert resumed.record.losses == whole.record.losses


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="needs RLIMIT_AS")
def test_memory_that_runs_out_in_one_process_makes_all_of_them_take_fewer_rows(
    tmp_path: Path, tiny_model: Path, tiny_recipe: Recipe, tiny_splits: Stored[Splits]
) -> None:
    block = {"method": "full", "batch_size": 64, "max_steps": 8, "max_tokens": 512, "checkpoint_steps": 1,
             "learning_rate": 0.001}  # fmt: skip
    recipe = tiny_recipe.model_copy(update={"prompt": tiny_recipe.prompt.model_copy(update={"before": "x y " * 100})})
    job = together(job_of(tmp_path / "home", tiny_model, recipe, tiny_splits, **block))
    reports = job.store.root / "work" / adapter_key(job) / "reports.jsonl"
    process = start("train", job, tmp_path)
    while not (reports.exists() and '"metrics"' in reports.read_text()):
        assert process.exitcode is None, (tmp_path / "said").read_text()[-2000:]
        time.sleep(0.005)
    told = {one.environ().get("RANK"): one for one in psutil.Process(process.pid).children(recursive=True)}
    allowed = told["1"].memory_info().vms - (64 << 20)  # less than it has: the next large tensor finds no room
    told["1"].rlimit(psutil.RLIMIT_AS, (allowed, allowed))
    process.join()
    assert process.exitcode == 0, (tmp_path / "said").read_text()[-2000:]
    stored = job.store.find(Trained, adapter_key(job))
    assert stored is not None
    assert stored.record.micro_batch == 16, "half of what each of the two took"
    whole = train(job_of(tmp_path / "whole", tiny_model, recipe, tiny_splits, **block), tracker)
    assert [p.loss for p in stored.record.losses] == pytest.approx([p.loss for p in whole.record.losses], rel=1e-3)


@pytest.mark.slow
def test_what_one_of_the_processes_raises_is_raised_here(
    tmp_path: Path, tiny_model: Path, tiny_recipe: Recipe, tiny_splits: Stored[Splits]
) -> None:
    short = together(job_of(tmp_path / "a", tiny_model, tiny_recipe, tiny_splits, **{**HEAD, "max_tokens": 10}))
    with pytest.raises(InvalidInput, match=r"line \d+ needs \d+ tokens, more than train\.max_tokens = 10"):
        train(short, tracker)
    wild = {**HEAD, "top_layers": None, "weight_decay": 1e38}
    with pytest.raises(CannotTrain, match="training diverged"):
        train(together(job_of(tmp_path / "b", tiny_model, tiny_recipe, tiny_splits, **wild)), tracker)


def test_a_batch_that_cannot_be_shared_is_told(
    tmp_path: Path, tiny_model: Path, tiny_recipe: Recipe, tiny_splits: Stored[Splits]
) -> None:
    job = together(job_of(tmp_path / "home", tiny_model, tiny_recipe, tiny_splits, **HEAD), 3)
    with pytest.raises(InvalidInput, match=r"train\.batch_size is 16, which 3 processes cannot share evenly"):
        train(job, tracker)


def test_a_job_travels_as_json(
    tmp_path: Path, tiny_model: Path, tiny_recipe: Recipe, tiny_splits: Stored[Splits]
) -> None:
    job = together(job_of(tmp_path / "home", tiny_model, tiny_recipe, tiny_splits, **HEAD))
    write_job(job, tmp_path / "job.json")
    back = read_job(tmp_path / "job.json")
    assert (back.recipe, back.settings, back.base, back.splits) == (job.recipe, job.settings, job.base, job.splits)
    assert back.store.root == job.store.root
    other = dataclasses.replace(tiny_splits, digest="0" * 64)
    write_job(dataclasses.replace(job, splits=other), tmp_path / "job.json")
    with pytest.raises(InvalidInput, match=r"stored splits .* is gone or was made anew"):
        read_job(tmp_path / "job.json")


def test_a_process_by_itself_leads_and_agrees_with_itself() -> None:
    assert alone()
    assert leads()
    assert agreed([1]) == [1]
    with leader_first():
        layer = torch.nn.Linear(2, 2)
    wrapper = torch.nn.Sequential(layer)
    assert through(wrapper, layer, lambda x: x + 1, torch.tensor(1)) == 2
    assert wrapper(torch.zeros(1, 2)).shape == (1, 2)
    with pytest.raises(ZeroDivisionError):
        through(wrapper, layer, lambda x: 1 // 0, torch.tensor(1))
    assert wrapper(torch.zeros(1, 2)).shape == (1, 2)
