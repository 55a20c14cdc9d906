"""What Dagster's users look for: definitions that validate, tags, descriptions, launchpad, retries, checks."""

import subprocess
import sys

import dagster as dg
import pytest

from assets.checks import data_quality, no_leak
from assets.definitions import build, read_recipes
from assets.launch import explained
from assets.launchpad import changed
from assets.project import Project
from assets.run import latest
from assets.wiring import FLAKY
from supply_chain.data.leaks import leaks
from supply_chain.data.table import read_table, write_table
from supply_chain.errors import InvalidInput, Unavailable, Unreachable
from supply_chain.records import Curated, Example
from supply_chain.settings import PROJECT
from supply_chain.store import Store
from tests.assets.conftest import load

NAME = "tiny_reviews"
FETCH = ("curated_data", "splits", "adapter", "predictions", "scorecard", "registered_model", "champion")


def key(asset: str) -> dg.AssetKey:
    return dg.AssetKey([NAME, asset])


def definition(project: Project, asset: str) -> dg.AssetsDefinition:
    found = build(project).resolve_asset_graph().get(key(asset))
    return found.assets_def


def test_dagster_validates_the_workspace(project: Project) -> None:
    command = [sys.executable, "-m", "dagster", "definitions", "validate", "-w", "workspace.yaml"]
    done = subprocess.run(command, cwd=PROJECT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-3000:]
    assert "Validation successful for code location assets.definitions" in done.stdout + done.stderr


def test_a_recipe_in_a_sub_folder_is_found(project: Project) -> None:
    path = project.settings.recipes / f"{NAME}.yaml"
    other = project.settings.recipes / "shop/berlin/other.yaml"
    other.parent.mkdir(parents=True)
    other.write_text(path.read_text().replace(f"name: {NAME}", "name: other").replace("tiny-reviews", "other"))
    recipes, faulty = read_recipes(project)
    assert ([recipe.name for recipe in recipes], faulty) == (["other", NAME], {})


def test_each_asset_says_what_the_recipe_says_of_it(project: Project) -> None:
    load(
        project,
        ("owner: team:tests", "owner: ada+ml@example.org"),
        ("rank: 2", "rank: 3"),
    )
    spec = next(s for s in build(project).resolve_all_asset_specs() if s.key == key("adapter"))
    assert spec.description.startswith("What training learned")
    assert "```yaml\ntrain:\n  method: lora\n" in spec.description and "  rank: 3\n" in spec.description
    assert "learning_rate" not in spec.description, "defaults are not shown"
    assert spec.owners == ["ada+ml@example.org"] and spec.group_name == NAME and "pytorch" in spec.kinds
    tags = {"task": "classification", "base": "tiny", "method": "lora", "sensitivity": "internal"}
    assert tags.items() <= spec.tags.items() and spec.tags["owner"] == "ada_ml_example.org"
    report = next(s for s in build(project).resolve_all_asset_specs() if s.key == key("report"))
    assert "name: tiny_reviews" in report.description and "volume_per_month: 1000" in report.description


def test_a_recipe_cannot_leave_its_block(project: Project) -> None:
    load(
        project,
        ("description: Tells", 'description: "```\\n# Hello ```` there. Tells'),
        ("negative.\n", 'negative."\n'),
    )
    report = next(s for s in build(project).resolve_all_asset_specs() if s.key == key("report"))
    assert report.description.endswith("\n`````") and "\n\n`````yaml\n" in report.description


def test_only_steps_that_ask_something_outside_are_tried_again(project: Project) -> None:
    graph = build(project).resolve_asset_graph()
    own = [graph.get(k).assets_def for k in graph.get_all_asset_keys() if k.path[0] == NAME]
    tried = {d.key.path[-1] for d in own if d.op.retry_policy is not None}
    assert tried == set(FETCH)
    assert graph.get(dg.AssetKey(["base_models", "tiny"])).assets_def.op.retry_policy == FLAKY


@pytest.mark.parametrize(("error", "tries"), [(Unreachable("no answer"), 3), (Unavailable("no room"), 1)])
def test_a_step_is_tried_again_only_for_what_may_answer(error: Exception, tries: int) -> None:
    done = []

    @dg.asset(retry_policy=dg.RetryPolicy(max_retries=2, delay=0))
    def flaky() -> None:
        done.append(1)
        with explained():
            raise error

    found = dg.materialize([flaky], raise_on_error=False)
    assert (found.success, len(done)) == (False, tries)
    (failed,) = [event for event in found.all_events if event.is_step_failure]
    assert failed.step_failure_data.user_failure_data.description == str(error)


def test_the_launchpad_is_filled_in_with_the_recipe(project: Project) -> None:
    recipe = load(project)
    fields = definition(project, "adapter").op.config_schema.as_field().config_type.fields
    assert {name: fields[name].default_value for name in ("learning_rate", "max_steps", "batch_size")} == {
        "learning_rate": recipe.train.learning_rate, "max_steps": 2, "batch_size": 4
    }  # fmt: skip
    assert changed(recipe, {"learning_rate": 0.001}).train.learning_rate == 0.001
    with pytest.raises(
        InvalidInput, match=r"train\.batch_size: .* found 0\n  train\.learning_rate: .*less than 1, found 3\.0"
    ):
        changed(recipe, {"learning_rate": 3.0, "batch_size": 0})


def test_heavy_steps_say_what_they_need(project: Project) -> None:
    tags = definition(project, "adapter").op.tags
    assert (tags["supply_chain/step"], tags["supply_chain/memory_gb"], tags["supply_chain/gpus"]) == (
        "train",
        "2.0",
        "0",
    )
    assert '"memory": "2.0G"' in tags["dagster-k8s/config"]
    assert "supply_chain/step" not in definition(project, "curated_data").op.tags


def curated(**changes: object) -> Curated:
    return Curated(
        source="x", source_sha256="0" * 64, license="MIT", attribution="", rows_read=100, rows_kept=60, rejects={},
        labels=["a", "b"], **changes,
    )  # fmt: skip


def test_poor_data_are_told() -> None:
    assert data_quality(curated(flagged={"label:a": 6})).passed
    assert not data_quality(curated(flagged={"label:a": 6, "pii:EMAIL": 1})).passed
    few = data_quality(curated().model_copy(update={"rows_kept": 49}))
    assert (few.passed, few.severity) == (False, dg.AssetCheckSeverity.WARN)
    assert few.description == "49 of 100 rows are kept (49.0%), 0 flags among them."


def test_a_leak_is_found_in_the_stored_rows(tiny_splits, store: Store) -> None:
    assert leaks(tiny_splits) == {"id": 0, "group": 0, "text": 0, "cluster": 0}
    assert no_leak(tiny_splits).passed
    path = tiny_splits.path / "test.parquet"
    stolen = read_table(tiny_splits.path / "train.parquet", Example)[0]
    rows = read_table(path, Example)
    path.chmod(0o644)
    copied = stolen.model_copy(update={"id": "new", "group": "new", "text": f" {stolen.text.upper()}  ", "cluster": 0})
    write_table(path, Example, [*rows, copied])
    assert leaks(tiny_splits) == {"id": 0, "group": 0, "text": 1, "cluster": 0}
    found = no_leak(tiny_splits)
    assert (found.passed, found.severity) == (False, dg.AssetCheckSeverity.ERROR)
    assert found.description == "In two splits: 0 ids, 0 groups, 1 texts, 0 clusters."


def test_a_run_records_checks_plots_and_links(made_once: Project) -> None:
    with dg.DagsterInstance.get() as instance:
        runs = [run for run in instance.get_runs() if run.tags.get("supply_chain/recipe") == NAME]
        first = runs[-1]
        events = instance.all_logs(first.run_id, of_type=dg.DagsterEventType.ASSET_CHECK_EVALUATION)
        found = {
            e.dagster_event.event_specific_data.check_name: e.dagster_event.event_specific_data.passed for e in events
        }
        card = instance.get_latest_materialization_event(key("scorecard")).asset_materialization.metadata
    assert found.keys() >= {"data_quality", "no_leak", "parity", "size", "kpis", "gate_minimum"}
    assert found["no_leak"] and found["parity"] and found["size"]
    assert "data:image/png;base64," in card["frontier"].value and "data:image/png;base64," in card["reliability"].value
    trained = latest(NAME, "adapter", made_once).record
    assert first.tags["mlflow/version"] == f"{NAME} 1"
    assert trained.tracking_run is not None and first.tags["mlflow/run"]
