"""Runs one recipe's assets in this process, over the instance that the UI shows."""

import warnings
from dataclasses import dataclass
from typing import Any

import dagster as dg
from dagster._core.events import RunFailureReason

from assets.automate import selection_of
from assets.console import spare_mirrors
from assets.definitions import build
from assets.fleet import MANIFEST
from assets.io_manager import ReferenceIOManager
from assets.project import Project
from assets.runs import RECIPE, close_dead, own_process
from supply_chain.recipe import Recipe


@dataclass(frozen=True)
class Failed:
    """The step that ended a run: its asset, the kind of error and the message."""

    step: str
    error: str
    message: str


@dataclass(frozen=True)
class Outcome:
    """One run: its id in the Dagster UI, and its failure if there was one."""

    run_id: str
    failed: Failed | None


def run_recipe(recipe: Recipe, project: Project) -> Outcome:
    """Materializes a recipe's assets; stages whose inputs did not change are not done again.

    Raises KeyboardInterrupt when a person stops it; what was finished is kept.
    """
    return _execute(selection_of(recipe), project, {RECIPE: recipe.name})


def run_manifest(project: Project) -> Outcome:
    """Materializes the routing manifest, in a run of its own: one failed recipe must not stop it."""
    return _execute(dg.AssetSelection.assets(MANIFEST), project, {})


def latest(name: str, asset: str, project: Project) -> Any:
    """The stored object that an asset of recipe `name` last made, or None."""
    return ReferenceIOManager(project.references, project.store).latest(dg.AssetKey([name, asset]))


def _execute(selection: dg.AssetSelection, project: Project, tags: dict[str, str]) -> Outcome:
    project.dagster_home()
    defs = build(project)
    keys = list(selection.resolve(defs.resolve_asset_graph()))
    job = defs.resolve_implicit_global_asset_job_def()
    with dg.DagsterInstance.get() as instance, warnings.catch_warnings():
        warnings.simplefilter("ignore", dg.PreviewWarning)  # Dagster's own use of its Pipes
        close_dead(instance)
        spare_mirrors(instance)
        result = job.execute_in_process(
            instance=instance,
            asset_selection=keys,
            raise_on_error=False,
            tags={**tags, **own_process()},
            run_config={"loggers": {"console": {}}},  # ours; see console.py
        )
    if _interrupted(result):
        raise KeyboardInterrupt
    return Outcome(result.run_id, None if result.success else _failure(result))


def _interrupted(result: dg.ExecuteInProcessResult) -> bool:
    """Whether Ctrl-C ended the run; Dagster takes it for a failure."""
    ends = [event.job_failure_data for event in result.all_events if event.is_job_failure]
    return any(end.failure_reason is RunFailureReason.UNEXPECTED_TERMINATION for end in ends)


def _failure(result: dg.ExecuteInProcessResult) -> Failed:
    for event in result.all_events:
        if event.is_step_failure:
            data = event.step_failure_data
            step, own = (event.step_key or "").rpartition("__")[2], data.user_failure_data
            if own is not None and own.description:
                return Failed(step, str(own.metadata["error"].value), own.description)
            error = data.error.cause or data.error if data.error else None
            return Failed(step, error.cls_name or "Error" if error else "Error", error.message if error else "unknown")
    return Failed("run", "Error", "the run failed before its first step; its log is in the Dagster UI")
