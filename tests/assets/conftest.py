"""A tiny project that the whole chain runs on in seconds: real Dagster, MLflow, workers and models."""

import os
from pathlib import Path

import pytest

from assets.project import Project
from supply_chain.recipe import Recipe, load_recipe
from supply_chain.settings import Settings
from tests.conftest import write_tiny_project

CATALOGUE = """\
models:
  - name: tiny
    size: small
    role: student
    source: {{kind: path, path: {path}}}
    revision: "1"
    license: CC0-1.0
    languages: [en]
    context_tokens: 512
    parameters: 100000
"""
FLEET = """\
name: tests
fallback: {name: generalist, url_env: GENERALIST_URL, usd_per_1k_requests: 1.0}
"""


@pytest.fixture
def project(tmp_path: Path, tiny_model: Path, monkeypatch: pytest.MonkeyPatch) -> Project:
    """A project in `tmp_path / "project"` with the recipe `tiny_reviews`; its gates are easy to pass."""
    root = tmp_path / "project"
    recipe = write_tiny_project(root)
    easy = "promote: {minimum: 0.0, beats: [], champion_margin: 1.0, quantization_loss: 1.0}"
    recipe.write_text(recipe.read_text().replace("promote: {minimum: 0.5}", easy))
    (root / "recipes/base_models.yaml").write_text(CATALOGUE.format(path=tiny_model))
    (root / "recipes/fleet.yaml").write_text(FLEET)
    monkeypatch.delenv("DAGSTER_HOME", raising=False)
    settings = Settings(root=root, home=tmp_path / "home", recipes=root / "recipes", compute="float32:eager:1")
    for name, value in settings.environment().items():
        monkeypatch.setenv(name, value)
    yield Project(settings)
    os.environ.pop("DAGSTER_HOME", None)


def load(project: Project, *edits: tuple[str, str]) -> Recipe:
    """The project's recipe, after replacing text in its file."""
    path = project.settings.recipes / "tiny_reviews.yaml"
    text = path.read_text()
    for old, new in edits:
        assert old in text, old
        text = text.replace(old, new)
    path.write_text(text)
    return load_recipe(path, project.catalogue.surroundings(project.settings.root))
