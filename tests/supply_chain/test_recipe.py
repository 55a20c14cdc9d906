"""A recipe's faults are all found at once, each with its line, its path and the way out."""

from pathlib import Path

import pytest

from supply_chain.catalogue import load_catalogue
from supply_chain.errors import InvalidInput, InvalidRecipe
from supply_chain.recipe import Recipe, find_recipes, load_recipe
from supply_chain.recipe.part import Surroundings
from supply_chain.settings import PROJECT, Settings

RECIPE = PROJECT / "recipes/review_sentiment.yaml"
AROUND = Surroundings(PROJECT, ("smollm2-135m-instruct",))


def load(tmp_path: Path, *edits: tuple[str, str]) -> Recipe:
    text = RECIPE.read_text()
    for old, new in edits:
        assert old in text
        text = text.replace(old, new, 1)
    path = tmp_path / "review_sentiment.yaml"
    path.write_text(text)
    return load_recipe(path, AROUND)


def faults(tmp_path: Path, *edits: tuple[str, str]) -> list[str]:
    with pytest.raises(InvalidRecipe) as raised:
        load(tmp_path, *edits)
    return [str(fault) for fault in raised.value.faults]


def test_every_recipe_and_the_catalogue_load() -> None:
    settings = Settings()
    catalogue = load_catalogue(settings)
    recipes = find_recipes(settings.recipes)
    assert RECIPE in recipes
    for path in recipes:
        assert load_recipe(path, catalogue.surroundings(PROJECT)).name == path.stem


def test_all_faults_at_once_with_line_path_and_nearest_key(tmp_path: Path) -> None:
    found = faults(
        tmp_path, ("rank: 16", "rnak: 16"), ("alpha: 32", "alpha: -3"), ("base: smollm2", "base: smallm2"),
        ("volume_per_month: 200000", "volume_per_month: many"), ("max_size_mb", "max_sise_mb"),
    )  # fmt: skip
    lines = RECIPE.read_text().splitlines()
    base = 1 + next(i for i, line in enumerate(lines) if line.startswith("base:"))
    assert found[0].startswith(f"line {base}: base: unknown base model 'smallm2-135m-instruct'")
    assert found[1].endswith("train.lora.rnak: unknown key; did you mean rank?")
    assert found[2].endswith("train.lora.alpha: must be at least 1, found -3")
    assert "evaluate.kpis.volume_per_month" in found[3]
    assert found[4].endswith("promote.max_sise_mb: unknown key; did you mean max_size_mb?")
    assert len(found) == 5


@pytest.mark.parametrize(
    ("edit", "expected"),
    [
        (("kind: package", "kind: pakage"), "data.source: must be one of"),
        (("method: lora", "method: lorra"), "train: must be one of 'lora'"),
        (("  method: lora\n", ""), "train: needs the key 'method' that says which kind it is"),
        (("name: review_sentiment", "name: other"), "name: must be 'review_sentiment', the file's name"),
        (("epochs: 2", "epochs: 2\n  epochs: 3"), "train.epochs: stands twice"),
        (('pattern: "^([0-9]+)_"', 'pattern: "^[0-9]+_"'), "data.group.pattern: needs exactly one (group), has 0"),
        (("negative->neutral", "negative=neutral"), "must read truth->answer"),
        (("owner: team:customer-insight", "owner: nobody"), "owner: must match"),
        (("base: smol", "base: !!python/object:os.system smol"), "not YAML"),
        (("name: review_sentiment", "name: &a review_sentiment\nroute2: *a"), "aliases (*name) are not allowed"),
        (("license: MIT", "license: 2026-13-45"), "holds a value that cannot be read: month must be in 1..12"),
        (("license: MIT", f"license: {'[' * 99}{']' * 99}"), "nests deeper than 50 levels"),
    ],
)
def test_one_fault(tmp_path: Path, edit: tuple[str, str], expected: str) -> None:
    assert any(expected in fault for fault in faults(tmp_path, edit)), faults(tmp_path, edit)


@pytest.mark.parametrize(
    ("path", "expected"), [("../secret.csv", "leads out of the project"), ("no.csv", "no such file")]
)
def test_paths_stay_inside_the_project_and_exist(tmp_path: Path, path: str, expected: str) -> None:
    text = RECIPE.read_text()
    start, end = text.index("  source:"), text.index("  format:")
    recipe = tmp_path / "review_sentiment.yaml"
    recipe.write_text(f"{text[:start]}  source: {{kind: path, path: {path}}}\n{text[end:]}")
    with pytest.raises(InvalidRecipe, match=expected):
        load_recipe(recipe, AROUND)


def test_what_is_no_recipe(tmp_path: Path) -> None:
    with pytest.raises(InvalidInput, match="No such file"):
        load_recipe(tmp_path / "none.yaml", AROUND)
    path = tmp_path / "broken.yaml"
    path.write_bytes(b"name: \xff\xfe")
    with pytest.raises(InvalidRecipe, match="not UTF-8"):
        load_recipe(path, AROUND)
    path.write_text("[1, 2")
    with pytest.raises(InvalidRecipe, match="line 2: not YAML"):
        load_recipe(path, AROUND)
    path.write_text("")
    with pytest.raises(InvalidRecipe):
        load_recipe(path, AROUND)
