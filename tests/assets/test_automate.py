"""Recipes that run by themselves: when, and when not."""

import os
import subprocess
import sys
import time
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

import dagster as dg
import pytest

from assets.definitions import build
from assets.project import Project
from assets.runs import RECIPE, busy
from supply_chain.errors import InvalidRecipe
from supply_chain.recipe.automate import QuietHours
from tests.assets.conftest import load

ON_NEW_DATA = ("route: ", "automate: {on_new_data: true}\nroute: ")
NAME = "tiny_reviews"


def data_file(project: Project) -> Path:
    return project.settings.root / "data/tiny_reviews.csv"


def curate_once(project: Project, instance: dg.DagsterInstance) -> None:
    job = build(project).resolve_implicit_global_asset_job_def()
    key = dg.AssetKey([NAME, "curated_data"])
    assert job.execute_in_process(instance=instance, asset_selection=[key]).success


def look(project: Project, instance: dg.DagsterInstance, cursor: str | None = None) -> dg.SensorResult:
    repository = build(project).get_repository_def()
    with dg.build_sensor_context(instance=instance, repository_def=repository, cursor=cursor) as context:
        return repository.get_sensor_def("new_data")(context)


def test_only_new_bytes_start_a_run(project: Project) -> None:
    load(project, ON_NEW_DATA)
    with dg.DagsterInstance.get() as instance:
        assert look(project, instance).run_requests == [], "the first run is a person's"
        curate_once(project, instance)
        first = look(project, instance)
        assert first.run_requests == []
        data_file(project).touch()
        touched = look(project, instance, first.cursor)
        assert touched.run_requests == []
        with data_file(project).open("a") as file:
            file.write("another sentence that is good,positive,r99\n")
        (request,) = look(project, instance, touched.cursor).run_requests
        assert request.tags[RECIPE] == NAME
        assert {key.path[0] for key in request.asset_selection} == {NAME, "base_models"}
        again = look(project, instance, touched.cursor).run_requests
        assert [r.run_key for r in again] == [request.run_key], "Dagster runs a key once"
        curate_once(project, instance)
        assert look(project, instance, touched.cursor).run_requests == []


def test_a_recipe_at_work_and_quiet_hours_hold_a_run_back(project: Project) -> None:
    load(project, ON_NEW_DATA)
    with dg.DagsterInstance.get() as instance:
        curate_once(project, instance)
        with data_file(project).open("a") as file:
            file.write("another sentence that is good,positive,r99\n")
        job = build(project).resolve_implicit_global_asset_job_def()
        run = instance.create_run_for_job(job, asset_selection=frozenset({dg.AssetKey([NAME, "adapter"])}))
        assert busy(instance) == {NAME}
        assert look(project, instance).run_requests == []
        instance.report_run_failed(run)
        assert len(look(project, instance).run_requests) == 1
        all_day = "automate: {on_new_data: true, quiet_hours: {start: '00:00', end: '23:59:59.999999'}}"
        load(project, ("automate: {on_new_data: true}", all_day))
        assert look(project, instance).run_requests == []


def test_two_changes_during_a_run_make_one_more(project: Project) -> None:
    load(project, ON_NEW_DATA)
    with dg.DagsterInstance.get() as instance:
        curate_once(project, instance)
        job = build(project).resolve_implicit_global_asset_job_def()
        run = instance.create_run_for_job(job, asset_selection=frozenset({dg.AssetKey([NAME, "adapter"])}))
        for number in range(2):
            with data_file(project).open("a") as file:
                file.write(f"sentence {number} that is good,positive,r99\n")
            assert look(project, instance).run_requests == []
        instance.report_run_failed(run)
        assert len(look(project, instance).run_requests) == 1
        curate_once(project, instance)
        assert look(project, instance).run_requests == []


@pytest.mark.parametrize(
    ("start", "end", "clock", "held"),
    [("22:00", "06:00", "23:30", True), ("22:00", "06:00", "05:59", True), ("22:00", "06:00", "06:00", False),
     ("12:00", "13:00", "12:00", True), ("12:00", "13:00", "13:00", False)],
)  # fmt: skip
def test_quiet_hours_follow_their_clock(start: str, end: str, clock: str, held: bool) -> None:
    hours = QuietHours(start=start, end=end, timezone="Europe/Berlin")
    hour, minute = map(int, clock.split(":"))
    now = datetime(2026, 1, 15, hour - 1, minute, tzinfo=UTC)  # Berlin is one hour ahead in winter
    assert hours.hold(now) is held


def test_recipes_with_the_same_time_share_a_schedule(project: Project) -> None:
    schedule = "automate: {schedule: {cron: '0 3 * * 1', timezone: Europe/Berlin}}\nroute: "
    load(project, ("route: ", schedule))
    (made,) = build(project).schedules
    assert (made.cron_schedule, made.execution_timezone) == ("0 3 * * 1", "Europe/Berlin")
    repository = build(project).get_repository_def()
    at = datetime(2026, 1, 5, 2, tzinfo=UTC)
    with (
        dg.DagsterInstance.get() as instance,
        dg.build_schedule_context(instance, at, repository_def=repository) as tick,
    ):
        (request,) = made.evaluate_tick(tick).run_requests
    assert request.run_key == f"{NAME}:{at.isoformat()}"


def test_every_fault_of_the_block_is_said(project: Project) -> None:
    bad = "automate: {schedule: {cron: '61 * * * *', timezone: Berlin}, quiet_hours: {start: late, end: '01:00'}}"
    with pytest.raises(InvalidRecipe) as caught:
        load(project, ("route: ", f"{bad}\nroute: "))
    assert {fault.where for fault in caught.value.faults} == {
        "automate.schedule.cron", "automate.schedule.timezone", "automate.quiet_hours.start"
    }  # fmt: skip


@pytest.mark.slow
def test_the_daemon_runs_a_changed_recipe_once(project: Project, tmp_path: Path) -> None:
    load(project, ON_NEW_DATA)
    project.dagster_home()
    with dg.DagsterInstance.get() as instance, (tmp_path / "log").open("w") as log:
        curate_once(project, instance)
        before = len(instance.get_runs())
        command = [sys.executable, "-m", "dagster._daemon", "run", "-m", "assets.definitions"]
        daemon = subprocess.Popen(command, stdout=log, stderr=log, env={**os.environ})
        try:
            with data_file(project).open("a") as file:
                file.write("another sentence that is good,positive,r99\n")

            def runs() -> list[dg.DagsterRun]:
                assert daemon.poll() is None, (tmp_path / "log").read_text()[-3000:]
                return [run for run in instance.get_runs() if run.tags.get(RECIPE) == NAME]

            wait_for(lambda: [run.status for run in runs()] == [dg.DagsterRunStatus.SUCCESS], 1500)
            time.sleep(65)  # two more looks of the sensor
            assert len(runs()) == 1
            assert len(instance.get_runs()) >= before + 1
        finally:
            daemon.terminate()
            daemon.wait()


def wait_for(true: Callable[[], bool], seconds: float) -> None:
    deadline = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < deadline
        time.sleep(1)
