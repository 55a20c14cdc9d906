"""The real daemon: runs start once for each reason, across restarts, and of no other recipe."""

import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path

import dagster as dg
import pytest
from dagster._core.definitions.run_request import InstigatorType
from dagster._core.scheduler.instigation import TickStatus

from assets.definitions import build
from assets.project import Project
from assets.runs import RECIPE
from tests.assets.conftest import load
from tests.assets.test_automate import NAME, ON_NEW_DATA, data_file, wait_for

pytestmark = pytest.mark.slow
OTHER = "other_reviews"
PATIENCE_S = 1500
"""On a machine that does much else; nothing is measured here."""
ENDED = {dg.DagsterRunStatus.SUCCESS, dg.DagsterRunStatus.FAILURE, dg.DagsterRunStatus.CANCELED}


@contextmanager
def daemon(log: Path) -> Iterator["subprocess.Popen[bytes]"]:
    """Dagster's daemon over the project that the environment describes."""
    command = [sys.executable, "-m", "dagster._daemon", "run", "-m", "assets.definitions"]
    with log.open("a") as file:
        started = subprocess.Popen(command, stdout=file, stderr=file, env={**os.environ})
        try:
            yield started
        finally:
            started.terminate()
            started.wait()


def prepare(project: Project, instance: dg.DagsterInstance, names: list[str]) -> None:
    """Data and base are there once; the base's weights are gone then, so that each run ends soon, at its training."""
    keys = [dg.AssetKey([name, "curated_data"]) for name in names] + [dg.AssetKey(["base_models", "tiny"])]
    job = build(project).resolve_implicit_global_asset_job_def()
    assert job.execute_in_process(instance=instance, asset_selection=keys).success
    for weights in project.store.root.glob("base/*/model.safetensors"):
        weights.unlink()


def started(instance: dg.DagsterInstance) -> list[dg.DagsterRun]:
    """Runs that the daemon started, oldest first."""
    return [run for run in reversed(instance.get_runs()) if RECIPE in run.tags]


def looks(instance: dg.DagsterInstance, number: int, name: str = "new_data") -> Callable[[], bool]:
    """Whether a sensor has looked `number` times since now, once a second at most."""
    seen: set[float] = set()
    last = _last_look(instance, name)

    def often() -> bool:
        seen.add(_last_look(instance, name))
        return len(seen - {last}) >= number

    return often


def _last_look(instance: dg.DagsterInstance, name: str) -> float:
    states = [state for state in instance.all_instigator_state() if state.instigator_name == name]
    return float(states[0].instigator_data.last_tick_timestamp or 0) if states else 0.0


def write(project: Project, number: int) -> None:
    with data_file(project).open("a") as file:
        file.write(f"sentence {number} that is good,positive,r{90 + number}\n")


def test_changes_during_a_run_make_one_more_of_that_recipe(project: Project, tmp_path: Path) -> None:
    load(project, ON_NEW_DATA)
    path = project.settings.recipes / f"{NAME}.yaml"
    text = path.read_text().replace("tiny-reviews", "other").replace(f"name: {NAME}", f"name: {OTHER}")
    path.with_stem(OTHER).write_text(text.replace(f"data/{NAME}.csv", "data/other.csv"))
    data_file(project).with_stem("other").write_bytes(data_file(project).read_bytes())
    project.dagster_home()
    with dg.DagsterInstance.get() as instance:
        prepare(project, instance, [NAME, OTHER])
        with daemon(tmp_path / "log"):
            with project.store.locked("worker"):  # no worker starts: the first run stays at its training
                write(project, 0)
                wait_for(lambda: [run.status for run in started(instance)] == [dg.DagsterRunStatus.STARTED], PATIENCE_S)
                made = dg.AssetKey([NAME, "splits"])
                wait_for(lambda: instance.get_latest_materialization_event(made) is not None, PATIENCE_S)
                for number in (1, 2):
                    write(project, number)
                    wait_for(looks(instance, 2), PATIENCE_S)
                assert len(started(instance)) == 1, "one run of a recipe at a time"
            wait_for(lambda: len(started(instance)) == 2, PATIENCE_S)
            wait_for(lambda: {run.status for run in started(instance)} <= ENDED, PATIENCE_S)
            wait_for(looks(instance, 3), PATIENCE_S)
            runs = started(instance)
            assert [run.tags[RECIPE] for run in runs] == [NAME, NAME]
            assert len({run.tags["dagster/run_key"] for run in runs}) == 2
            assert {key.path[0] for run in runs for key in run.asset_selection or ()} == {NAME, "base_models"}


def test_a_schedule_fires_once_per_tick_across_a_killed_daemon(project: Project, tmp_path: Path) -> None:
    load(project, ("route: ", "automate: {schedule: {cron: '* * * * *', timezone: Europe/Berlin}}\nroute: "))
    project.dagster_home()
    with dg.DagsterInstance.get() as instance:
        prepare(project, instance, [NAME])
        with daemon(tmp_path / "log") as first:
            wait_for(lambda: len(started(instance)) >= 1, PATIENCE_S)
            first.send_signal(signal.SIGKILL)
            first.wait()
        with daemon(tmp_path / "log"):
            wait_for(lambda: len(started(instance)) >= 3, PATIENCE_S)
        runs, ticks = started(instance), ticks_of(instance)
    due = [datetime.fromisoformat(run.tags["dagster/run_key"].removeprefix(f"{NAME}:")) for run in runs]
    assert ticks == [ticks[0] + 60 * number for number in range(len(ticks))], "no tick twice, none left out"
    assert len(set(due)) == len(due) and {at.timestamp() for at in due} <= set(ticks), "a tick starts one run at most"


def ticks_of(instance: dg.DagsterInstance) -> list[float]:
    """When the schedule's ticks were due; one that met a run of its recipe is among them, and started none."""
    (state,) = [one for one in instance.all_instigator_state() if one.instigator_type is InstigatorType.SCHEDULE]
    ticks = instance.get_ticks(state.instigator_origin_id, state.selector_id)
    assert {tick.status for tick in ticks} <= {TickStatus.SUCCESS, TickStatus.SKIPPED, TickStatus.STARTED}
    return sorted(tick.timestamp for tick in ticks)
