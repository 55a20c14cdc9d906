"""A search tries values within their ranges, survives being killed, and never looks at a test row."""

import dataclasses
import os
import signal
import subprocess
import time
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest

from supply_chain.errors import CannotTrain, InvalidRecipe
from supply_chain.identity import file_sha256
from supply_chain.job import Job
from supply_chain.keys import adapter_key, search_key
from supply_chain.recipe import Recipe, load_recipe
from supply_chain.recipe.part import Surroundings
from supply_chain.recipe.search import Search
from supply_chain.records import Splits, Trained, ValidationPoint
from supply_chain.sampling import hopeless, propose
from supply_chain.search import search
from supply_chain.store import FileDigest, Stored, content_digest
from supply_chain.tracking import NoTracker
from supply_chain.training import train
from supply_chain.trials import Searched, TrialLog, Tried, chosen
from tests.conftest import RECIPE, write_tiny_project
from tests.supply_chain.driving import start
from tests.supply_chain.test_methods import job_of

HEAD = {"method": "head", "tune": "full", "batch_size": 16, "max_steps": 12, "checkpoint_steps": 3,
        "learning_rate": 0.001, "stopping": {"every_steps": 4}}  # fmt: skip
RANGES = {"learning_rate": {"low": 1e-5, "high": 1e-2, "log": True}, "pooling": {"choices": ["last", "mean"]},
          "batch_size": {"low": 8, "high": 16, "step": 8}}  # fmt: skip


def quiet(key: str, stage: str, parent: str | None) -> NoTracker:
    return NoTracker()


def sought(home: Path, tiny_model: Path, recipe: Recipe, splits: Stored[Splits], **block: Any) -> Job:
    job = job_of(home, tiny_model, recipe, splits, **HEAD)
    spec = Search.model_validate({"ranges": RANGES, "trials": 4, "startup": 2, **block})
    return dataclasses.replace(job, recipe=job.recipe.model_copy(update={"search": spec}))


@pytest.fixture
def job(tmp_path: Path, tiny_model: Path, tiny_recipe: Recipe, tiny_splits: Stored[Splits]) -> Job:
    return sought(tmp_path / "one", tiny_model, tiny_recipe, tiny_splits)


def plain(found: Stored[Searched]) -> list[dict[str, Any]]:
    return [trial.model_dump(exclude={"seconds"}) for trial in found.record.trials]


def test_the_best_trial_is_the_training_that_its_values_make(job: Job, tmp_path: Path) -> None:
    found = search(job, quiet)
    record = found.record
    assert [t.number for t in record.trials] == [0, 1, 2, 3]
    assert record.trials[0].values == {"learning_rate": 0.001, "pooling": "last", "batch_size": 16}
    ends = [t.best for t in record.trials if t.outcome == "finished"]
    assert record.value == max(e for e in ends if e is not None)
    assert record.trials[record.best].values == record.values
    assert list((job.store.root / "adapter").glob("*")) == [job.store.root / "adapter" / record.adapter_key]
    assert not list((job.store.root / "work").glob("*"))
    elsewhere = dataclasses.replace(
        job, recipe=chosen(job.recipe, record), store=type(job.store)(tmp_path / "elsewhere")
    )
    anew = train(elsewhere, lambda key: NoTracker())
    kept = job.store.find(Trained, adapter_key(elsewhere))
    assert kept is not None
    assert kept.files == anew.files

    assert job.recipe.search is not None
    longer_budget = job.recipe.search.model_copy(update={"trials": 5})
    more = dataclasses.replace(job, recipe=job.recipe.model_copy(update={"search": longer_budget}))
    assert search_key(more) != search_key(job)
    longer = search(more, quiet)
    assert longer.record.trials[:4] == record.trials, "a larger budget goes on with what was tried, seconds and all"
    assert len(longer.record.trials) == 5


def test_a_killed_search_tries_what_an_uninterrupted_one_tries_and_nothing_twice(
    job: Job, tmp_path: Path, tiny_model: Path, tiny_recipe: Recipe, tiny_splits: Stored[Splits]
) -> None:
    killed = sought(tmp_path / "two", tiny_model, tiny_recipe, tiny_splits, trials=3)
    work = killed.store.root / "work" / search_key(killed)
    process = start("search", killed, tmp_path, stderr=subprocess.DEVNULL)
    while trials(work) < 2 or not any((work / "store/work").glob("*/checkpoint-6/complete.json")):
        assert process.poll() is None
        time.sleep(0.002)
    os.kill(process.pid, signal.SIGKILL)
    process.wait()
    before = [t.seconds for t in TrialLog(work / "trials.json").finished]
    assert len(list((work / "store/work").glob("*"))) == 1
    found = search(killed, quiet)
    assert [t.seconds for t in found.record.trials[: len(before)]] == before
    assert before
    assert plain(found) == plain(search(job, quiet))[:3]


def trials(work: Path) -> int:
    path = work / "trials.json"
    return path.read_text().count('"number"') if path.exists() else 0


def test_test_rows_change_nothing(
    job: Job, tmp_path: Path, tiny_model: Path, tiny_recipe: Recipe, tiny_splits: Stored[Splits]
) -> None:
    folder = tmp_path / "other"
    folder.mkdir()
    for name in tiny_splits.files:
        (folder / name).write_bytes((tiny_splits.path / name).read_bytes())
    table = pq.read_table(folder / "test.parquet")
    labels = ["neutral"] * table.num_rows
    place = table.schema.get_field_index("label")
    pq.write_table(table.set_column(place, "label", [labels]), folder / "test.parquet")
    changed = FileDigest(
        sha256=file_sha256(folder / "test.parquet"), size_bytes=(folder / "test.parquet").stat().st_size
    )
    files = {**tiny_splits.files, "test.parquet": changed}
    assert changed != tiny_splits.files["test.parquet"]
    other = dataclasses.replace(tiny_splits, path=folder, files=files, digest=content_digest(files))
    found = search(sought(tmp_path / "two", tiny_model, tiny_recipe, other, trials=2), quiet)
    assert plain(found) == plain(search(job, quiet))[:2]


def test_values_that_cannot_be_trained_fail_alone(
    tmp_path: Path, tiny_model: Path, tiny_recipe: Recipe, tiny_splits: Stored[Splits]
) -> None:
    ranges = {"learning_rate": {"choices": [0.001, 0.999]}, "weight_decay": {"choices": [0.0, 1e38]}}
    job = sought(tmp_path / "wild", tiny_model, tiny_recipe, tiny_splits, ranges=ranges, trials=6, startup=6)
    record = search(job, quiet).record
    failed = [t for t in record.trials if t.outcome == "failed"]
    assert failed
    assert "training diverged" in failed[0].why
    assert record.values["weight_decay"] == 0.0
    doubles = [t for t in record.trials if t.why.startswith("has the values of trial")]
    assert len({tuple(t.values.items()) for t in record.trials}) == len(record.trials) - len(doubles)
    hopeless_ = {"weight_decay": {"choices": [1e37, 1e38]}}
    nothing = sought(tmp_path / "none", tiny_model, tiny_recipe, tiny_splits, ranges=hopeless_, trials=2)
    with pytest.raises(CannotTrain, match="none of 2 trials could be trained\n  trial 0: training diverged"):
        search(nothing, quiet)


def done(number: int, rate: float, *values: float) -> Tried:
    points = [ValidationPoint(step=10 * (i + 1), value=v) for i, v in enumerate(values)]
    return Tried(number=number, values={"learning_rate": rate}, outcome="finished", best=max(values), measured=points)


def test_values_are_drawn_near_good_ones_and_a_trial_behind_the_median_is_given_up(tiny_recipe: Recipe) -> None:
    spec = Search.model_validate({"ranges": {"learning_rate": RANGES["learning_rate"]}, "startup": 3})
    train_ = tiny_recipe.train
    rates = [10 ** (-5 + i / 4) for i in range(12)]
    tried = [done(i, rate, 1 - abs(i - 8) / 10, 1 - abs(i - 8) / 8) for i, rate in enumerate(rates)]
    assert propose(spec, train_, tried, 17) == propose(spec, train_, tried, 17)
    drawn = [propose(spec, train_, tried, seed)["learning_rate"] for seed in range(20)]
    near = [rate for rate in drawn if rates[6] < rate < rates[10]]
    assert len(near) > 14, drawn
    behind = done(12, 1e-5, 0.3).model_copy(update={"outcome": "running"})
    ahead = done(12, 1e-3, 0.9).model_copy(update={"outcome": "running"})
    assert hopeless(spec, train_, tried, behind)
    assert not hopeless(spec, train_, tried, ahead)
    assert not hopeless(spec, train_, tried[:2], behind)
    assert not hopeless(spec.model_copy(update={"pruning": "none"}), train_, tried, behind)


def test_minutes_end_a_search_once_it_has_a_result(
    tmp_path: Path, tiny_model: Path, tiny_recipe: Recipe, tiny_splits: Stored[Splits]
) -> None:
    job = sought(tmp_path / "short", tiny_model, tiny_recipe, tiny_splits, trials=9, minutes=1e-9)
    assert [t.outcome for t in search(job, quiet).record.trials] == ["finished"]


@pytest.mark.parametrize(
    ("block", "fault"),
    [
        ("{learning_rat: {low: 1, high: 2}}", r"ranges\.learning_rat: train .*; did you mean learning_rate\?"),
        ("{rank: {low: 4, high: 1024}}", r"ranges\.rank: 1024: Input should be less than or equal to 512"),
        ("{rank: {low: 4.5, high: 8}}", r"ranges\.rank: takes whole numbers"),
        ("{dora: {low: 0, high: 1}}", r"ranges\.dora: is no number: give choices"),
        ("{init: {choices: [zeros, ones]}}", r"ranges\.init: 'ones': Input should be 'zeros'"),
        ("{method: {choices: [lora, full]}}", r"ranges\.method: is the same in all trials"),
        ("{lora.rank: {low: 1, high: 2}}", r"ranges\.lora\.rank: train \(method lora\) has no such key"),
        ("{rank.x: {low: 1, high: 2}}", r"ranges\.rank\.x: train\.rank has no keys here"),
        ("{rank: {low: 8, high: 8}}", r"line 13: search\.ranges\.rank\.span: low \(8\) must be less than"),
        ("{rank: {low: 0, high: 8, log: true}}", r"log needs a low above 0"),
        ("{rank: {low: 1, hihg: 8}}", r"did you mean high\?"),
        ("{rank: {choices: [8]}}", r"at least 2 items"),
        ("{}", r"at least 1 item"),
    ],
)  # fmt: skip
def test_a_range_that_the_method_cannot_take_is_a_fault(block: str, fault: str, tmp_path: Path) -> None:
    path = write_tiny_project(tmp_path / "project")
    text = RECIPE.replace("max_tokens: 64}", "max_tokens: 64, stopping: {}}\nsearch:\n  ranges: " + block)
    path.write_text(text)
    with pytest.raises(InvalidRecipe, match=fault):
        load_recipe(path, Surroundings(root=tmp_path / "project", bases=("tiny",)))


def test_a_search_needs_a_measured_metric(tmp_path: Path) -> None:
    path = write_tiny_project(tmp_path / "project")
    path.write_text(RECIPE.replace("evaluate:", "search: {ranges: {rank: {choices: [2, 4]}}}\nevaluate:", 1))
    with pytest.raises(InvalidRecipe, match=r"add `stopping: \{\}` to train"):
        load_recipe(path, Surroundings(root=tmp_path / "project", bases=("tiny",)))
