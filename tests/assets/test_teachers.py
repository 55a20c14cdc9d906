"""A student's line to its teacher is a real one: in the graph, in a run's selection and in the worker."""

from pathlib import Path

import dagster as dg
import pytest

from assets.automate import selection_of
from assets.definitions import build
from assets.project import Project
from assets.run import latest, run_recipe
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
