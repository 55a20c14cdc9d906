from pathlib import Path

from supply_chain.data.examples import read_split
from supply_chain.inference import load
from supply_chain.prompt import Renderer
from supply_chain.recipe import Recipe
from supply_chain.records import Compute, Splits
from supply_chain.store import Stored


def test_the_tiny_project_has_every_row_once_and_whole_reviews(tiny_splits: Stored[Splits]):
    parts = {name: read_split(tiny_splits, name) for name in ("train", "validation", "test")}
    assert sum(len(part) for part in parts.values()) == 120
    assert {len(part) for part in (parts["validation"], parts["test"])} == {15, 24}
    assert tiny_splits.record.labels == ["negative", "neutral", "positive"]


def test_the_tiny_model_loads_and_renders(tiny_model: Path, tiny_recipe: Recipe, compute: Compute):
    loaded = load(tiny_model, compute)
    labels = ["negative", "neutral", "positive"]
    renderer = Renderer.of(tiny_recipe.prompt, labels, loaded.tokenizer)
    assert [len(loaded.tokenizer(answer)["input_ids"]) for answer in renderer.answers] == [1, 1, 1]
    assert loaded.tokenizer.decode(loaded.tokenizer("héllo 7")["input_ids"]) == "héllo 7"
    assert loaded.model.config.num_hidden_layers == 2
