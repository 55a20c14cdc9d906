"""What runs now, and what only seems to."""

import os
import socket

import dagster as dg
import psutil

_PID, _HOST = "supply_chain/pid", "supply_chain/host"
RECIPE = "supply_chain/recipe"
_OPEN = [
    dg.DagsterRunStatus.QUEUED,
    dg.DagsterRunStatus.NOT_STARTED,
    dg.DagsterRunStatus.STARTING,
    dg.DagsterRunStatus.STARTED,
    dg.DagsterRunStatus.CANCELING,
]


def own_process() -> dict[str, str]:
    """Tags that name this process, so that its runs can be told from those of a dead one."""
    return {_PID: str(os.getpid()), _HOST: socket.gethostname()}


def tag_run(context: dg.AssetExecutionContext, tags: dict[str, str | None]) -> None:
    """Adds what a step found out to the tags of its run, by which the UI filters; None is left out."""
    context.instance.add_run_tags(context.run_id, {name: value for name, value in tags.items() if value})


def close_dead(instance: dg.DagsterInstance) -> None:
    """A run that was killed could not say so: without this, the UI shows it as running for ever."""
    here = dg.RunsFilter(statuses=[dg.DagsterRunStatus.STARTED], tags={_HOST: socket.gethostname()})
    for run in instance.get_runs(here):
        if not psutil.pid_exists(int(run.tags[_PID])):
            instance.report_run_failed(run, "Its process was killed; run the recipe again to go on.")


def busy(instance: dg.DagsterInstance) -> set[str]:
    """Names of the recipes that a run works on or waits for, however it was started."""
    close_dead(instance)
    runs = instance.get_runs(dg.RunsFilter(statuses=_OPEN))
    return {key.path[0] for run in runs for key in run.asset_selection or ()}
