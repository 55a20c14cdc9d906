"""`kill -9` at each stage of the chain: nothing half-written stays, and the next run ends as if nothing happened."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import dagster as dg
import psutil
import pytest

from assets.project import Project
from assets.run import latest, run_manifest, run_recipe
from registry.generations import history
from registry.release import champions, releases
from supply_chain.store import ENTRY
from tests.assets.conftest import described, load, make_project

STEPS = ["curated_data", "splits", "adapter", "merged_model", "artifacts", "parity", "predictions", "scorecard",
         "quantized_model", "decision", "report", "registered_model", "champion", "routing_manifest"]  # fmt: skip
SAME = ("curated_data", "splits", "adapter", "merged_model", "quantized_model")


def killed_at(step: str) -> None:
    """Starts the chain and kills it as soon as it says that `step` has begun."""
    command = [sys.executable, "-m", "assets.cli", "run", "tiny_reviews"]
    process = subprocess.Popen(
        command, stderr=subprocess.PIPE, stdout=subprocess.DEVNULL, text=True, env={**os.environ}
    )
    assert process.stderr is not None
    for line in process.stderr:
        if line.startswith("▸") and line.strip().endswith(step):
            os.kill(process.pid, signal.SIGKILL)
            break
    process.wait()
    assert process.returncode == -signal.SIGKILL, f"{step} never began"


def whole_objects(project: Project) -> None:
    """Every object in the store is whole."""
    for kind in project.store.root.iterdir():
        if kind.name in {"tmp", "work", "locks"}:
            continue
        for entry in kind.iterdir():
            assert (entry / ENTRY).exists(), entry


def test_a_killed_training_blocks_nothing_and_is_shown_as_failed(project: Project) -> None:
    killed_at("adapter")
    assert run_recipe(load(project), project).failed is None
    with dg.DagsterInstance.get() as instance:
        assert [run.status.value for run in instance.get_runs()] == ["SUCCESS", "FAILURE"]


def test_ctrl_c_stops_cleanly_and_keeps_what_was_finished(project: Project) -> None:
    """As a terminal does it: the signal reaches the command and its worker."""
    command = [sys.executable, "-m", "assets.cli", "run", "tiny_reviews"]
    process = subprocess.Popen(command, stderr=subprocess.PIPE, text=True, start_new_session=True)
    assert process.stderr is not None
    said = []
    for line in process.stderr:
        said.append(line)
        if line.startswith("▸") and line.strip().endswith("adapter"):
            worker = started_by(process.pid)
            os.killpg(process.pid, signal.SIGINT)
    assert process.wait() == 130, "".join(said)
    assert not psutil.pid_exists(worker), "the worker stayed"
    assert "Traceback" not in "".join(said)
    assert said[-1].startswith("error stopped; what was finished is kept")
    whole_objects(project)
    assert latest("tiny_reviews", "splits", project) is not None
    with dg.DagsterInstance.get() as instance:
        assert [run.status.value for run in instance.get_runs()] == ["FAILURE"], "the UI does not show it as running"


def started_by(pid: int) -> int:
    """The worker that a process's fork server has started."""
    while True:
        for child in psutil.Process(pid).children(recursive=True):
            parent = child.parent()
            if parent is not None and "assets.fork_server" in parent.cmdline() and child.cpu_times().user > 0.1:
                return child.pid
        time.sleep(0.01)


@pytest.mark.slow
def test_killed_at_every_stage(tmp_path: Path, tiny_model: Path) -> None:
    plain = make_project(tmp_path / "plain", tiny_model)
    with described(plain):
        assert run_recipe(load(plain), plain).failed is None
        assert run_manifest(plain).failed is None
    project = make_project(tmp_path / "killed", tiny_model)
    with described(project):
        for step in STEPS:
            killed_at(step)
            whole_objects(project)
            for release in champions(project.settings):
                assert release.promoted
            history(project.settings)
        assert run_recipe(load(project), project).failed is None
        assert run_manifest(project).failed is None
        for name in SAME:
            assert latest("tiny_reviews", name, project).digest == latest("tiny_reviews", name, plain).digest
        assert [(r.version, r.aliases) for r in releases(project.settings)] == [(1, ["champion"])]
        assert len(history(project.settings)) == 1
