"""A student's line to its teacher is a real one: in the graph, in a run's selection and in the worker."""

import shutil
from pathlib import Path

import dagster as dg
import pytest

from assets.about import SOURCE_VERSION
from assets.automate import selection_of
from assets.definitions import build
from assets.plan import plan
from assets.project import Project
from assets.run import latest, run_recipe
from supply_chain.data.source import locate
from supply_chain.recipe import Recipe, load_recipe

HEAD = "train: {method: head, tune: full, max_steps: 4, batch_size: 8, max_tokens: 64}"
DISTILL = (
    "train: {method: distill, teacher: {recipe: tiny_reviews}, student: {layers: 1}, max_steps: 3, batch_size: 8, "
    "max_tokens: 64, stopping: {every_steps: 2}}"
)


def student_of(project: Project) -> Recipe:
    """Makes the project's recipe a teacher with a head, and writes a student's recipe beside it."""
    folder: Path = project.settings.recipes
    text = (folder / "tiny_reviews.yaml").read_text()
    line = next(line for line in text.splitlines() if line.startswith("train:"))
    (folder / "tiny_reviews.yaml").write_text(text.replace(line, HEAD))
    path = folder / "small_reviews.yaml"
    path.write_text(text.replace(line, DISTILL).replace("tiny_reviews\n", "small_reviews\n", 1))
    return load_recipe(path, project.catalogue.surroundings(project.settings.root, folder))


def test_the_teachers_weights_are_an_input_of_the_students(project: Project) -> None:
    student = student_of(project)
    graph = build(project).resolve_asset_graph()
    parents = graph.get(dg.AssetKey(["small_reviews", "adapter"])).parent_keys
    assert dg.AssetKey(["tiny_reviews", "merged_model"]) in parents
    run = {key.to_user_string() for key in selection_of(student).resolve(graph)}
    assert {"tiny_reviews/adapter", "tiny_reviews/merged_model", "small_reviews/champion"} <= run
    assert not {"tiny_reviews/quantized_model", "tiny_reviews/champion"} & run
    planned = [one.asset for one in plan(student, project)]
    assert len(planned) == len(run) and set(planned) == run
    for key in map(dg.AssetKey.from_user_string, planned):
        before = [parent.to_user_string() for parent in graph.get(key).parent_keys]
        assert all(planned.index(parent) < planned.index(key.to_user_string()) for parent in before)


def test_a_plan_looks_at_the_teachers_own_source(project: Project) -> None:
    student, data = student_of(project), project.settings.root / "data"
    shutil.copy(data / "tiny_reviews.csv", data / "others.csv")
    path = project.settings.recipes / "tiny_reviews.yaml"
    path.write_text(path.read_text().replace("tiny_reviews.csv", "others.csv"))
    everything_is_made(project, locate(student.data.source, project.settings.downloads, project.settings.root).version)
    assert {one.why for one in plan(student, project)} == {None}
    (data / "others.csv").write_text((data / "others.csv").read_text() + "one more good sentence,positive,r99\n")
    changed = {one.asset: one.why for one in plan(student, project) if one.why}
    assert changed["tiny_reviews/curated_data"] == "the source's bytes changed"
    assert changed["small_reviews/adapter"] == "follows merged_model"
    assert "small_reviews/curated_data" not in changed


def test_a_plan_goes_back_to_the_teachers_own_teacher(project: Project) -> None:
    student, bases = student_of(project), project.settings.recipes / "base_models.yaml"
    text = bases.read_text()
    bases.write_text(text + text.removeprefix("models:\n").replace("name: tiny", "name: tiny-2"))
    path = project.settings.recipes / "tiny_reviews.yaml"
    taught = DISTILL.replace("{recipe: tiny_reviews}, student: {layers: 1}", "{base: tiny-2}")
    path.write_text(path.read_text().replace(HEAD, taught))
    planned = [one.asset for one in plan(student, Project(project.settings))]
    assert planned.index("base_models/tiny_2") < planned.index("tiny_reviews/adapter")
    assert planned.index("tiny_reviews/merged_model") < planned.index("small_reviews/adapter")


def everything_is_made(project: Project, version: str) -> None:
    project.dagster_home()
    graph = build(project).resolve_asset_graph()
    with dg.DagsterInstance.get() as instance:
        for key in graph.get_all_asset_keys():
            tags = {"dagster/code_version": str(graph.get(key).code_version), "dagster/data_version": "1"}
            event = dg.AssetMaterialization(key, metadata={SOURCE_VERSION: version}, tags=tags)
            instance.report_runless_asset_event(event)


@pytest.mark.parametrize(
    ("block", "parents"),
    [
        ("{method: preference, start: tiny_reviews, pairs: {kind: mistakes}}", {"tiny_reviews/merged_model"}),
        (
            "{method: distill, objective: {kind: sequence}, teacher: {endpoint: {url: 'https://x.org/v1', model: m, "
            "license: MIT, zone: any}}}",
            set(),
        ),
    ],
)
def test_weights_to_start_from_are_an_input_and_an_endpoint_is_none(
    project: Project, block: str, parents: set[str]
) -> None:
    folder: Path = project.settings.recipes
    text = (folder / "tiny_reviews.yaml").read_text()
    line = next(line for line in text.splitlines() if line.startswith("train:"))
    (folder / "next.yaml").write_text(text.replace(line, f"train: {block}").replace("tiny_reviews\n", "next\n", 1))
    found = build(project).resolve_asset_graph().get(dg.AssetKey(["next", "adapter"])).parent_keys
    assert {key.to_user_string() for key in found} == {"base_models/tiny", "next/splits", *parents}


@pytest.mark.slow
def test_a_student_is_made_evaluated_and_promoted_after_its_teacher(project: Project) -> None:
    student = student_of(project)
    assert run_recipe(student, project).failed is None
    trained = latest("small_reviews", "adapter", project).record
    assert trained.teacher == latest("tiny_reviews", "merged_model", project).digest
    assert (len(trained.layers), [p.step for p in trained.validation]) == (1, [2, 3])
    card = latest("small_reviews", "scorecard", project).record
    assert [c.name for c in card.contestants] == ["majority", "tfidf", "base", "specialist", "bnb-nf4"]
    assert card.contestants[3].size_bytes < card.contestants[2].size_bytes
    made_of = [(o.role, o.name) for o in latest("small_reviews", "quantized_model", project).record.origins]
    assert made_of == [("base", "tiny"), ("data", "small_reviews"), ("teacher", "tiny"), ("teacher", "tiny_reviews")]
