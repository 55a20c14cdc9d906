"""A search is an asset before the adapter, and each of its trials a run below its own in MLflow."""

import dagster as dg

from assets.automate import selection_of
from assets.definitions import build
from assets.project import Project
from assets.run import latest
from registry.server import tracking_server
from tests.assets.conftest import load

BLOCK = "max_steps: 4, stopping: {every_steps: 2}}\nsearch: {ranges: {rank: {choices: [2, 4]}}, trials: 2}\n#"
SEARCH, ADAPTER = (dg.AssetKey(["tiny_reviews", name]) for name in ("search", "adapter"))


def made(project: Project, *keys: dg.AssetKey) -> None:
    defs = build(project)
    wanted = list(dg.AssetSelection.assets(*keys).upstream().resolve(defs.resolve_asset_graph()))
    with dg.DagsterInstance.get() as instance:
        job = defs.resolve_implicit_global_asset_job_def()
        assert job.execute_in_process(instance=instance, asset_selection=wanted).success


def test_trials_are_runs_below_the_search_and_the_adapter_is_the_best_of_them(project: Project) -> None:
    assert SEARCH not in build(project).resolve_asset_graph().get_all_asset_keys()
    recipe = load(project, ("max_steps: 2,", f"{BLOCK} "))
    graph = build(project).resolve_asset_graph()
    assert SEARCH in graph.get(ADAPTER).parent_keys
    assert SEARCH in selection_of(recipe).resolve(graph)
    load(project, ("trials: 2", "trials: 3"))
    other = build(project).resolve_asset_graph()
    assert {key for key in (SEARCH, ADAPTER) if graph.get(key).code_version != other.get(key).code_version} == {SEARCH}
    load(project, ("trials: 3", "trials: 2"))
    made(project, ADAPTER)
    found, adapter = latest(recipe.name, "search", project), latest(recipe.name, "adapter", project)
    assert adapter.key == found.record.adapter_key
    assert [t.values for t in found.record.trials] == [{"rank": 2}, {"rank": 4}] or found.record.trials[1].why
    with tracking_server(project.settings) as client:
        (experiment,) = (e for e in client.search_experiments() if e.name == recipe.name)
        runs = client.search_runs([experiment.experiment_id])
        own = next(run for run in runs if run.info.run_id == found.record.tracking_run)
        trials = [run for run in runs if run.data.tags.get("mlflow.parentRunId") == own.info.run_id]
    assert own.data.metrics["best_validation_macro_f1"] == found.record.value
    assert adapter.record.tracking_run in {run.info.run_id for run in trials}
    assert len(trials) == len([t for t in found.record.trials if not t.why])
    assert {run.info.status for run in [own, *trials]} == {"FINISHED"}
