"""Weights shared out over several processes: refused where it cannot be, and the same losses where it can."""

import dataclasses
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from accelerate import FullyShardedDataParallelPlugin
from safetensors.torch import load_file
from transformers import TrainingArguments

from supply_chain.errors import InvalidInput
from supply_chain.job_file import write_job
from supply_chain.processes import JOB
from supply_chain.recipe import Recipe
from supply_chain.records import Splits, Trained
from supply_chain.settings import PROJECT, Settings
from supply_chain.sharding import ENVIRONMENT, check_sharding, sharding_arguments
from supply_chain.store import Stored
from supply_chain.training import train
from tests.supply_chain.test_methods import job_of
from tests.supply_chain.test_training import tracker


def test_everything_in_the_way_of_sharing_is_told_at_once(
    tmp_path: Path, tiny_model: Path, tiny_recipe: Recipe, tiny_splits: Stored[Splits]
) -> None:
    block = {"method": "qlora", "top_layers": 1, "stopping": {}}
    job = job_of(tmp_path / "home", tiny_model, tiny_recipe, tiny_splits, **block)
    settings = job.settings.model_copy(update={"sharded": True, "device": "cpu"})
    with pytest.raises(InvalidInput) as error:
        train(dataclasses.replace(job, settings=settings), tracker)
    told = str(error.value)
    assert told.startswith("SUPPLY_CHAIN_SHARDED: Accelerate shards on GPUs alone, and would train whole copies")
    for part in ("set SUPPLY_CHAIN_PROCESSES to", "train.method qlora", "train.top_layers", "train.stopping"):
        assert part in told
    fine = job.recipe.train.model_copy(update={"method": "lora", "top_layers": None, "stopping": None})
    with pytest.raises(
        InvalidInput, match=r"^SUPPLY_CHAIN_SHARDED: Accelerate shards on GPUs alone.*without a word; or"
    ):
        check_sharding(fine, settings.model_copy(update={"processes": 2}))
    gpus = settings.model_copy(update={"device": "cuda", "processes": 64})
    with pytest.raises(InvalidInput, match=rf"PROCESSES is 64, and there are {torch.cuda.device_count()} GPUs"):
        check_sharding(fine, gpus)
    check_sharding(job.recipe.train, settings.model_copy(update={"sharded": False}))


def test_it_is_a_setting_that_travels(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SUPPLY_CHAIN_SHARDED", "true")
    assert Settings().sharded
    assert Settings().environment()["SUPPLY_CHAIN_SHARDED"] == "True"
    monkeypatch.setenv("SUPPLY_CHAIN_SHARDED", Settings(sharded=False).environment()["SUPPLY_CHAIN_SHARDED"])
    assert not Settings().sharded


def test_accelerate_takes_what_it_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FSDP_CPU_RAM_EFFICIENT_LOADING", "false")  # transformers sets it
    told = TrainingArguments(output_dir=str(tmp_path), use_cpu=True, **sharding_arguments()).fsdp_plugin_args
    plugin = FullyShardedDataParallelPlugin(**told)
    assert (plugin.fsdp_version, plugin.reshard_after_forward) == (2, True)
    assert plugin.state_dict_type.name == ENVIRONMENT["FSDP_STATE_DICT_TYPE"] == "FULL_STATE_DICT"


METHODS: dict[str, dict[str, Any]] = {
    "full": {"method": "full"},
    "lora": {"method": "lora", "rank": 2},
    "head": {"method": "head", "tune": "full", "pooling": "mean"},
}


@pytest.mark.slow
def test_two_processes_with_half_of_the_weights_each_lose_what_one_loses_and_resume(
    tmp_path: Path, tiny_model: Path, tiny_recipe: Recipe, tiny_splits: Stored[Splits]
) -> None:
    whole = {}
    for name, block in METHODS.items():
        loop = {"batch_size": 16, "max_steps": 6, "checkpoint_steps": 3, "learning_rate": 0.001}
        job = job_of(tmp_path / "home", tiny_model, tiny_recipe, tiny_splits, **{**block, **loop})
        whole[name] = train(job, tracker)
        settings = job.settings.model_copy(update={"processes": 2, "sharded": True})
        (tmp_path / name / "work").mkdir(parents=True)
        write_job(dataclasses.replace(job, settings=settings), tmp_path / name / "work" / JOB)
    first = {name: made(tmp_path / name, whole[name]) for name in run(tmp_path, "first")}
    for name in METHODS:
        (tmp_path / name / "work/checkpoint-6").rename(tmp_path / name / "gone")
    again = {name: made(tmp_path / name, whole[name]) for name in run(tmp_path, "resumed")}
    assert [again[name].losses for name in METHODS] == [first[name].losses for name in METHODS]


def made(folder: Path, whole: Stored[Trained]) -> Trained:
    """What two processes have made, which is what one made."""
    found = Trained.model_validate_json((folder / "made/record.json").read_text())
    assert [p.loss for p in found.losses] == pytest.approx([p.loss for p in whole.record.losses], rel=1e-3)
    assert found.trained_parameters == whole.record.trained_parameters
    file = next(name for name in whole.files if name.endswith(".safetensors"))
    mine, its = load_file(folder / "made" / file), load_file(whole.path / file)
    assert mine.keys() == its.keys()
    assert all(torch.allclose(mine[key].float(), its[key].float(), atol=2e-3) for key in its)
    assert json.loads((folder / "work/checkpoint-6/trainer_state.json").read_text())["global_step"] == 6
    return found


def run(root: Path, attempt: str) -> list[str]:
    """Starts the processes, and says for which methods."""
    folders = [root / name for name in METHODS]
    for folder in folders:
        if (folder / "made").exists():
            (folder / "made").rename(folder / f"before-{attempt}")
        (folder / "made").mkdir()
    torchrun = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--local-addr", "127.0.0.1"]
    script = ["--nproc-per-node", "2", "-m", "tests.supply_chain.sharded", *map(str, folders)]
    environment = {**os.environ, "OMP_NUM_THREADS": "1", **ENVIRONMENT}
    said = subprocess.run([*torchrun, *script], cwd=PROJECT, env=environment, capture_output=True, check=False)
    assert said.returncode == 0, said.stderr.decode()[-3000:]
    return list(METHODS)
