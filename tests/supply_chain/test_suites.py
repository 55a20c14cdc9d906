"""Suites: inheritance, and every fault at once with its file and line."""

from pathlib import Path

import pytest
import yaml

from supply_chain.errors import InvalidRecipe
from supply_chain.recipe import load_recipe
from supply_chain.recipe.expression import condition
from supply_chain.recipe.load import load_yaml
from supply_chain.recipe.part import Surroundings
from supply_chain.recipe.suites import FOLDER, Suite
from supply_chain.settings import PROJECT
from tests.conftest import write_tiny_project

SUITE = """\
name: house
description: What the house measures everything by.
evaluate:
  metric: accuracy
  shots: 2
  slices: [{name: long, where: chars > 60}]
  kpis: {mistake_usd: 9.0, escalation_usd: 0.5}
promote: {minimum: 0.9, slice_minimum: 0.25}
"""


def recipe_with(root: Path, suite: str | None = SUITE, edit: tuple[str, str] = ("", "")):
    path = write_tiny_project(root)
    path.write_text(path.read_text().replace("base: tiny\n", "base: tiny\nsuite: house\n").replace(*edit))
    if suite is not None:
        (root / FOLDER).mkdir(parents=True)
        (root / FOLDER / "house.yaml").write_text(suite)
    return load_recipe(path, Surroundings(root=root, bases=("tiny",)))


def test_a_recipe_inherits_what_it_leaves_out_and_keeps_what_it_says(tmp_path: Path):
    found = recipe_with(tmp_path / "p")
    assert (found.evaluate.metric, found.evaluate.shots, found.evaluate.resamples) == ("accuracy", 2, 200)
    assert [s.name for s in found.evaluate.slices] == ["long"]
    assert (found.evaluate.kpis.mistake_usd, found.evaluate.kpis.escalation_usd) == (0.02, 0.5)
    assert (found.promote.minimum, found.promote.slice_minimum) == (0.5, 0.25)
    again = type(found).model_validate(found.model_dump(mode="json"))  # as a worker process reads it
    assert again == found


def test_faults_of_suite_and_recipe_come_together_each_with_its_line(tmp_path: Path):
    bad = SUITE.replace("shots: 2", "shots: 99").replace("slice_minimum", "slise_minimum")
    with pytest.raises(InvalidRecipe) as caught:
        recipe_with(tmp_path / "p", bad, ("resamples: 200", "resamples: 1"))
    said = str(caught.value)
    assert "evals/suites/house.yaml: line 5: evaluate.shots: must be at most 32, found 99" in said
    assert "line 8: promote.slise_minimum: unknown key; did you mean slice_minimum?" in said
    assert "evaluate.resamples: must be at least 200, found 1" in said
    lines = {fault.where: fault.line for fault in caught.value.faults}
    assert lines["suite"] == 11 and lines["evaluate.resamples"] > 11


@pytest.mark.parametrize(
    ("suite", "message"),
    [
        (None, r"suite: no suite 'house'; known: none \(they lie in evals/suites\)"),
        (SUITE.replace("name: house", "name: home"), "name: must be 'house', the file's name"),
        (SUITE + "data: {}\n", "data: unknown key"),
        ("name: house\nevaluate: [\n", "not YAML"),
    ],
)
def test_a_suite_that_cannot_be_used_is_a_fault_of_the_recipe(tmp_path: Path, suite, message):
    with pytest.raises(InvalidRecipe, match=message):
        recipe_with(tmp_path / "p", suite)


def test_a_slice_reads_kept_columns_only(tmp_path: Path):
    suite = SUITE.replace("where: chars > 60", 'where: chanel == "mail"')
    with pytest.raises(InvalidRecipe, match=r"slices.0: no chanel; known: .*channel. Name it in data.metadata"):
        recipe_with(tmp_path / "p", suite, ("  license", "  metadata: [channel]\n  license"))


def test_every_suite_of_the_project_loads():
    paths = sorted((PROJECT / FOLDER).glob("*.yaml"))
    assert paths
    for path in paths:
        assert load_yaml(path, Suite, stem_is_name=True).name == path.stem
        assert set(yaml.safe_load(path.read_text())) <= set(Suite.model_fields)


@pytest.mark.parametrize(
    ("text", "holds"),
    [
        ("chars > 3 and label in ['a', 'b']", True),
        ("not (1 < chars <= 4) or label == 'z'", False),
        ('"x" in text and label not in ("a", "c")', False),
        ("chars", True),
    ],
)
def test_expressions_compare(text: str, holds: bool):
    assert bool(condition(text)[0]({"chars": 4, "label": "a", "text": "xy"})) is holds


@pytest.mark.parametrize(
    "text",
    ["__import__('os')", "text.upper() == 'A'", "[x for x in text]", "chars +", "chars is 3", "lambda: 1", "9**9**9",
     "a" * 501, "f'{text}'", "text[0] == 'a'", "(" * 300],
)  # fmt: skip
def test_nothing_else_is_an_expression(text: str):
    with pytest.raises(ValueError, match=r"not an expression|not allowed|longer than"):
        condition(text)
