"""A tiny project that the whole chain runs on in seconds: real Dagster, MLflow, workers and models."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from assets.project import Project
from assets.run import run_manifest, run_recipe
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


def make_project(folder: Path, tiny_model: Path) -> Project:
    """A project below `folder` with the recipe `tiny_reviews`; its gates are easy to pass."""
    root = folder / "project"
    recipe = write_tiny_project(root)
    easy = "promote: {minimum: 0.0, beats: [], champion_margin: 1.0, quantization_loss: 1.0}"
    recipe.write_text(recipe.read_text().replace("promote: {minimum: 0.5}", easy))
    (root / "recipes/base_models.yaml").write_text(CATALOGUE.format(path=tiny_model))
    (root / "recipes/fleet.yaml").write_text(FLEET)
    return Project(Settings(root=root, home=folder / "home", recipes=root / "recipes", compute="float32:eager:1"))


@pytest.fixture
def project(tmp_path: Path, tiny_model: Path) -> Iterator[Project]:
    """A fresh project; the environment describes it."""
    made = make_project(tmp_path, tiny_model)
    with described(made):
        yield made


@pytest.fixture(scope="session")
def made(tmp_path_factory: pytest.TempPathFactory, tiny_model: Path) -> Project:
    """A project whose chain has run once."""
    made = make_project(tmp_path_factory.mktemp("made"), tiny_model)
    with described(made):
        assert run_recipe(load(made), made).failed is None
        assert run_manifest(made).failed is None
    return made


@pytest.fixture
def made_once(made: Project) -> Iterator[Project]:
    """`made`, described by the environment during one test; tests that change it keep the first run's evidence."""
    with described(made):
        yield made


@contextmanager
def described(project: Project) -> Iterator[None]:
    """Describes a project by environment variables, as a user would."""
    with pytest.MonkeyPatch.context() as patch:
        for name, value in project.settings.environment().items():
            patch.setenv(name, value)
        patch.setenv("DAGSTER_HOME", str(project.settings.home / "dagster"))
        (project.settings.home / "dagster").mkdir(parents=True, exist_ok=True)
        yield


def load(project: Project, *edits: tuple[str, str]) -> Recipe:
    """The project's recipe, after replacing text in its file."""
    path = project.settings.recipes / "tiny_reviews.yaml"
    text = path.read_text()
    for old, new in edits:
        assert old in text, old
        text = text.replace(old, new)
    path.write_text(text)
    return load_recipe(path, project.catalogue.surroundings(project.settings.root))
