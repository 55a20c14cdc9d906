"""End to end on the real 135M base model and the real reviews, with a few training steps."""

import shutil
from pathlib import Path

import pytest

from assets.project import Project
from assets.run import latest, run_manifest, run_recipe
from registry.generations import history
from registry.release import champions
from supply_chain.recipe import load_recipe
from supply_chain.settings import PROJECT, Settings
from tests.assets.conftest import described

EDITS = (
    ("  epochs: 2", "  max_steps: 2"),
    ("  license: MIT", "  split: {validation: 0.02, test: 0.05}\n  license: MIT"),
    ("  - scheme: bnb-nf4", "  - {scheme: bnb-nf4, calibration_rows: 8}"),
    ("  metric: macro_f1", "  metric: macro_f1\n  max_rows: 40\n  latency_rows: 10"),
    ("  minimum: 0.65", "  minimum: 0.0"),
    ("  beats: [tfidf]", "  beats: []"),
    ("  quantization_loss: 0.02", "  quantization_loss: 1.0"),
)


@pytest.mark.real
def test_the_default_recipe_with_two_steps(tmp_path: Path) -> None:
    shutil.copytree(PROJECT / "recipes", tmp_path / "recipes")
    path = tmp_path / "recipes/review_sentiment.yaml"
    text = path.read_text()
    for old, new in EDITS:
        assert old in text
        text = text.replace(old, new)
    path.write_text(text)
    downloads = PROJECT / ".supply_chain/downloads"
    (tmp_path / "home").mkdir()
    if downloads.exists():
        (tmp_path / "home/downloads").symlink_to(downloads)
    settings = Settings(home=tmp_path / "home", recipes=tmp_path / "recipes", compute="float32:sdpa:1")
    project = Project(settings)
    with described(project):
        recipe = load_recipe(path, project.catalogue.surroundings(settings.root))
        assert run_recipe(recipe, project).failed is None
        assert run_manifest(project).failed is None
        card = latest(recipe.name, "scorecard", project).record
        four_bit = card.contestant("bnb-nf4")
        assert four_bit.size_bytes < 0.45 * card.contestant("specialist").size_bytes
        assert card.rows == 40
        losses = latest(recipe.name, "adapter", project).record.losses
        assert [p.step for p in losses] == [1, 2]
        (champion,) = champions(settings)
        model = history(settings)[-1].manifest.models[0]
        assert (model.mlflow.version, model.artifact.sha256) == (champion.version, four_bit.model_digest)
