"""A project with a real SQLite MLflow; the empty database is made once and copied."""

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from registry.manifest import publish
from registry.routing import RoutingManifest
from registry.server import tracking_server
from supply_chain.recipe import Recipe, load_recipe
from supply_chain.recipe.part import Surroundings
from supply_chain.settings import Settings
from supply_chain.store import Store
from tests.conftest import write_tiny_project
from tests.registry.chain import Chain
from tests.registry.evidence import release_made_by_hand
from tests.registry.work import FLEET


@pytest.fixture(scope="session")
def empty_mlflow(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """MLflow's database right after its migrations."""
    home = tmp_path_factory.mktemp("mlflow")
    with tracking_server(Settings(home=home)):
        return home / "mlflow.db"


@pytest.fixture
def settings(tmp_path: Path, empty_mlflow: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Settings]:
    """A home with an empty MLflow; the working directory is elsewhere, to show that nothing is left there."""
    home = tmp_path / "home"
    home.mkdir(exist_ok=True)
    shutil.copyfile(empty_mlflow, home / "mlflow.db")
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path / "elsewhere")
    yield Settings(home=home)
    assert list((tmp_path / "elsewhere").iterdir()) == []


@pytest.fixture
def store(settings: Settings) -> Store:
    """The project's store."""
    return Store.of(settings)


@pytest.fixture
def chain(tiny_recipe: Recipe, settings: Settings, store: Store) -> Chain:
    """One recipe's way into the registry."""
    return Chain(tiny_recipe, settings, store)


@pytest.fixture(scope="session")
def manifest(tmp_path_factory: pytest.TempPathFactory) -> RoutingManifest:
    """One published generation, whose parts tests rearrange."""
    folder = tmp_path_factory.mktemp("manifest")
    recipe = load_recipe(write_tiny_project(folder / "p"), Surroundings(root=folder / "p", bases=("tiny",)))
    settings = Settings(home=folder / "home")
    store = Store.of(settings)
    return publish([release_made_by_hand(recipe, store)], FLEET, settings, store).manifest
