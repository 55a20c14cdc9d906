from pathlib import Path

import pytest

from registry.fleet import load_fleet
from supply_chain.errors import InvalidInput, InvalidRecipe
from supply_chain.settings import PROJECT, Settings


def test_the_fleet_in_recipes_loads():
    fleet = load_fleet(Settings(recipes=PROJECT / "recipes"))
    assert fleet.name == "default"
    assert fleet.fallback.url_env == "GENERALIST_URL"


def test_every_fault_is_named(tmp_path: Path):
    (tmp_path / "fleet.yaml").write_text("name: f1\nfallback: {name: big, url_env: http://x, usd_per_1k_request: 1}\n")
    with pytest.raises(InvalidRecipe) as error:
        load_fleet(Settings(recipes=tmp_path))
    assert {f.where for f in error.value.faults} == {
        "fallback.url_env", "fallback.usd_per_1k_requests", "fallback.usd_per_1k_request",
    }  # fmt: skip
    assert "did you mean usd_per_1k_requests?" in str(error.value)


def test_a_missing_fleet_is_named(tmp_path: Path):
    with pytest.raises(InvalidInput, match=r"fleet\.yaml"):
        load_fleet(Settings(recipes=tmp_path))
