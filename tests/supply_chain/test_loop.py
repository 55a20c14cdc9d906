"""The loop stops early on the recipe's metric, makes do with little memory, and survives being killed anywhere."""

import dataclasses
import random
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch

from supply_chain.errors import CannotTrain, SupplyChainError, Unavailable
from supply_chain.keys import adapter_key
from supply_chain.recipe import Recipe
from supply_chain.records import Splits, Trained
from supply_chain.room import MemoryRanOut, check_disk, explained_shortage, micro_batch, take_fewer
from supply_chain.stopping import metric_of
from supply_chain.store import Stored
from supply_chain.tracking import NoTracker
from supply_chain.training import train
from tests.supply_chain.driving import start
from tests.supply_chain.test_methods import job_of
from tests.supply_chain.test_training import tracker

HEAD = {"method": "head", "tune": "full", "batch_size": 16, "checkpoint_steps": 3, "learning_rate": 0.001}


def test_the_best_measured_weights_are_kept_and_a_run_without_better_ones_stops(
    tmp_path: Path, tiny_model: Path, tiny_recipe: Recipe, tiny_splits: Stored[Splits]
) -> None:
    def run(home: str, **values: object):  # type: ignore[no-untyped-def]
        job = job_of(tmp_path / home, tiny_model, tiny_recipe, tiny_splits, **{**HEAD, **values})
        return train(job, tracker)

    stopping = {"every_steps": 4, "patience": 2}
    wild = {"learning_rate": 0.05, "scheduler": "constant_with_warmup", "warmup": 0.0}
    stopped = run("a", max_steps=60, stopping=stopping, **wild)
    points = stopped.record.validation
    best = max(points, key=lambda point: point.value)
    assert stopped.record.steps < 60
    assert [point.step for point in points] == list(range(4, stopped.record.steps + 1, 4))
    assert stopped.record.kept_step == best.step == stopped.record.steps - 8
    again = run("b", max_steps=best.step, stopping=None, **wild)
    assert stopped.files["model.safetensors"] == again.files["model.safetensors"]


def test_measurement_is_macro_f1_over_all_labels_or_accuracy() -> None:
    labels, truth, answers = ["a", "b", "c"], [0, 0, 0, 1], [0, 0, 1, 1]
    assert metric_of("accuracy", labels, truth, answers) == 0.75
    assert metric_of("macro_f1", labels, truth, answers) == pytest.approx((0.8 + 2 / 3 + 0) / 3)


@pytest.mark.skipif(sys.platform != "linux", reason="needs RLIMIT_AS")
@pytest.mark.parametrize("compute", [None, "float32:eager:1"], ids=["timed", "float32"])
def test_the_same_batch_is_taken_in_parts_when_memory_runs_out(
    compute: str | None, tmp_path: Path, tiny_model: Path, tiny_recipe: Recipe, tiny_splits: Stored[Splits]
) -> None:
    block = {"method": "full", "batch_size": 64, "max_steps": 2, "learning_rate": 0.001}
    recipe = tiny_recipe.model_copy(update={"prompt": tiny_recipe.prompt.model_copy(update={"before": "x y " * 100})})
    job = job_of(tmp_path / "home", tiny_model, recipe, tiny_splits, **block, max_tokens=512)
    measured = job.settings.model_copy(update={"compute": compute, "threads": 1})  # timed steps run out of it, too
    process = start("train_with_little_memory", dataclasses.replace(job, settings=measured), tmp_path)
    process.join()
    assert process.exitcode == 0, (tmp_path / "said").read_text()[-2000:]
    record = Trained.model_validate_json((tmp_path / "record.json").read_bytes())
    assert record.micro_batch < 64
    assert 64 % record.micro_batch == 0
    job = job_of(tmp_path / "whole", tiny_model, recipe, tiny_splits, **block, max_tokens=512)
    same = f"{record.compute.dtype}:{record.compute.attention}:1"
    settings = job.settings.model_copy(update={"compute": same})
    whole = train(dataclasses.replace(job, settings=settings), tracker)
    assert whole.record.micro_batch == 64
    rounding = 1e-4 if record.compute.dtype == "float32" else 1e-2
    assert [p.loss for p in record.losses] == pytest.approx([p.loss for p in whole.record.losses], rel=rounding)


def test_fewer_rows_divide_the_batch_until_one_is_left(tmp_path: Path) -> None:
    assert micro_batch(tmp_path, 12) == 12
    assert take_fewer(tmp_path, 12, 12) == 6
    assert [micro_batch(tmp_path, 12), take_fewer(tmp_path, 15, 15), take_fewer(tmp_path, 7, 7)] == [6, 5, 1]
    with pytest.raises(SupplyChainError, match="out of memory with one row at a time"):
        take_fewer(tmp_path, 12, 1)


def test_shortages_of_memory_and_disk_are_told_apart(tmp_path: Path) -> None:
    with pytest.raises(MemoryRanOut), explained_shortage(tmp_path):
        torch.empty(1 << 60)
    with pytest.raises(MemoryRanOut), explained_shortage(tmp_path):
        raise RuntimeError("could not create a primitive")  # oneDNN's words for it
    with pytest.raises(Unavailable, match=r"is full\. Whole checkpoints are kept"), explained_shortage(tmp_path):
        Path("/dev/full").write_text("x")
    with pytest.raises(RuntimeError, match="another"), explained_shortage(tmp_path):
        raise RuntimeError("another fault")
    layer = torch.nn.Linear(4, 4)
    check_disk(layer, False, 0, tmp_path)
    with pytest.raises(Unavailable, match=r"training needs 1000000000\.\d+ GB of disk"):
        check_disk(layer, False, 10**18, tmp_path)


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A disk of 200 MB."""
    disk = tmp_path / "disk"
    disk.mkdir()
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=200m", "tmpfs", disk], capture_output=True, check=False
    )
    if mounted.returncode:
        pytest.skip("may not mount a small disk here")
    yield disk
    subprocess.run(["umount", "--lazy", disk], check=True)


def test_a_disk_that_fills_up_during_a_checkpoint_costs_nothing_that_was_whole(
    small_disk: Path, tmp_path: Path, tiny_model: Path, tiny_recipe: Recipe, tiny_splits: Stored[Splits]
) -> None:
    block = {"method": "full", "batch_size": 8, "max_steps": 30, "checkpoint_steps": 1, "max_tokens": 64}
    whole = train(job_of(tmp_path / "whole", tiny_model, tiny_recipe, tiny_splits, **block), tracker)
    job = job_of(small_disk / "home", tiny_model, tiny_recipe, tiny_splits, **block)
    work = job.store.root / "work" / adapter_key(job)

    class Greedy(NoTracker):
        """Another program, which takes what is left of the disk while the third step is under way."""

        def metrics(self, values: dict[str, float], step: int) -> None:
            if step == 3:
                with pytest.raises(OSError, match="No space"), (small_disk / "taken").open("wb") as file:
                    while True:
                        file.write(bytes(1 << 16))

    with pytest.raises(
        Unavailable, match=r"^the disk of .* is full\. Whole checkpoints are kept: make room and run the"
    ):
        train(job, lambda key: Greedy())
    assert (work / "checkpoint-2/complete.json").exists()
    (small_disk / "taken").unlink()
    resumed = train(job, tracker)
    assert resumed.files == whole.files
    assert resumed.record.losses == whole.record.losses


def test_a_step_that_is_too_long_ends_with_its_cause_and_keeps_what_was_whole(
    tmp_path: Path, tiny_model: Path, tiny_recipe: Recipe, tiny_splits: Stored[Splits]
) -> None:
    block = {**HEAD, "checkpoint_steps": 1, "max_steps": 20, "weight_decay": 1e30, "learning_rate": 0.5}
    job = job_of(tmp_path / "home", tiny_model, tiny_recipe, tiny_splits, **block)
    work = job.store.root / "work" / adapter_key(job)
    told = []
    for _ in range(2):
        with pytest.raises(
            CannotTrain, match=r"diverged: the (loss|gradient) is .*Lower train\.learning_rate"
        ) as error:
            train(job, tracker)
        told.append(str(error.value))
        assert list(work.glob("checkpoint-*/complete.json"))
    assert told[0] == told[1], "run again, it goes on from its last whole checkpoint to the same end"
    mended = job_of(tmp_path / "home", tiny_model, tiny_recipe, tiny_splits, **{**HEAD, "max_steps": 2})
    assert train(mended, tracker).record.steps == 2


@pytest.mark.slow
def test_twenty_random_kills_leave_the_same_weights(
    tmp_path: Path, tiny_model: Path, tiny_recipe: Recipe, tiny_splits: Stored[Splits]
) -> None:
    """Kills fall on reading, training, measuring, saving; the resumed run ends with the uninterrupted run's bits."""
    block = {**HEAD, "top_layers": 1, "max_steps": 150, "stopping": {"every_steps": 10, "patience": 15}}
    began = time.perf_counter()
    whole = train(job_of(tmp_path / "one", tiny_model, tiny_recipe, tiny_splits, **block), tracker)
    job = job_of(tmp_path / "two", tiny_model, tiny_recipe, tiny_splits, **block)
    work, moments = job.store.root / "work" / adapter_key(job), random.Random(5)
    lead, step = (time.perf_counter() - began) / 5, whole.record.seconds / whole.record.steps
    reached = []

    def newest() -> int:
        return max((int(p.parent.name.rpartition("-")[2]) for p in work.glob("checkpoint-*/complete.json")), default=0)

    for number in range(20):
        goal = newest() + 3 * moments.choice([1, 1, 2])
        process = start("train", job, tmp_path)
        while number % 4 and newest() < goal:  # every fourth kill falls on reading and resuming
            assert process.exitcode is None, (tmp_path / "said").read_text()[-2000:]
            time.sleep(0.001)
        process.join(moments.uniform(0, 4 * step if number % 4 else lead))
        process.kill()
        process.join()
        assert process.exitcode == -9
        reached.append(newest())
    resumed = train(job, tracker)
    assert resumed.files["model.safetensors"] == whole.files["model.safetensors"]
    assert resumed.record.losses == whole.record.losses
    assert resumed.record.validation == whole.record.validation
    assert len(set(reached)) > 10, f"the kills fell on {reached}: make the run longer"
    assert not work.exists()
