"""A recipe of another task goes the whole way through Dagster, too."""

from pathlib import Path

import pytest

from assets.project import Project
from assets.run import latest, run_manifest, run_recipe
from registry.generations import history
from supply_chain.settings import Settings
from tests.assets.conftest import CATALOGUE, FLEET, described
from tests.evals.test_writing import write_project


@pytest.mark.slow
def test_extraction_from_recipe_to_manifest(tmp_path: Path, tiny_model: Path) -> None:
    root = tmp_path / "project"
    recipe = write_project(root)
    (root / "base_models.yaml").write_text(CATALOGUE.format(path=tiny_model))
    (root / "fleet.yaml").write_text(FLEET)
    project = Project(Settings(root=root, home=tmp_path / "home", recipes=root, compute="float32:eager:1"))
    with described(project):
        assert run_recipe(recipe, project).failed is None
        assert run_manifest(project).failed is None
    card = latest("tiny_orders", "scorecard", project).record
    assert [c.name for c in card.contestants] == ["majority", "base", "specialist", "bnb-nf4"]
    assert (card.task, card.metric) == ("extraction", "exact_match")
    assert history(project.settings)[-1].manifest.routes[0].task == "tiny-orders"
