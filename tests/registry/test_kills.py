"""Killed at any write and run again: exactly one whole version, one line of generations."""

import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from mlflow import MlflowClient

from registry.generations import CURRENT, history, load_manifest
from registry.release import releases
from supply_chain.identity import file_sha256
from supply_chain.recipe import Recipe
from supply_chain.settings import PROJECT, Settings
from supply_chain.store import Store
from tests.registry.evidence import evidence_for, release_made_by_hand, store_artifact


def attempts(work: str, home: Path, *points: int) -> list[str]:
    """How each attempt ended: `killed`, or `done` and the number of its writes."""
    command = [sys.executable, "-m", "tests.registry.killing", f"tests.registry.work:{work}", str(home)]
    result = subprocess.run(
        [*command, *map(str, points)], cwd=PROJECT, capture_output=True, text=True, check=False, timeout=900
    )
    assert result.returncode == 0, result.stderr
    return result.stdout.split("\n")[:-1]


@pytest.fixture
def home(tiny_recipe: Recipe, tmp_path: Path, empty_mlflow: Path) -> Path:
    """A home with the evidence for two artifacts, of which the second beats the first."""
    home = tmp_path / "evidence"
    store, champion = Store.of(Settings(home=home)), None
    home.mkdir()
    (home / "recipe.json").write_text(tiny_recipe.model_dump_json())
    for salt in ("a", "b"):
        artifact = store_artifact(tiny_recipe, store, salt=salt)
        evidence_for(tiny_recipe, artifact, store, champion=champion)
        champion = artifact.digest
    shutil.copyfile(empty_mlflow, home / "mlflow.db")
    return home


def state(home: Path) -> dict[str, object]:
    """What the registry holds, without ids and times."""
    settings = Settings(home=home)
    client, found = MlflowClient(settings.tracking_uri), releases(settings)
    experiment = client.get_experiment_by_name("tiny_reviews").experiment_id
    runs = client.search_runs([experiment])
    models = client.search_logged_models([experiment])
    weights = sorted(file_sha256(p) for p in home.glob("mlflow-artifacts/**/model.safetensors"))
    return {
        "versions": [(r.version, r.aliases, r.tags | {"logged": timeless(r.tags["logged"])}) for r in found],
        "runs": sorted((r.info.status, sorted(r.data.params.items()), sorted(r.data.metrics.items())) for r in runs),
        "points": {len(client.get_metric_history(r.info.run_id, name)) for r in runs for name in r.data.metrics},
        "data": [len(r.inputs.dataset_inputs) for r in runs],
        "models": sorted(m.status for m in models),
        "weights": weights,
        "left over": list((home / "store" / "tmp").iterdir()),
    }


def timeless(logged: str) -> dict[str, object]:
    """An entry of the decision log without its time, nor the hash that covers it."""
    return {name: value for name, value in json.loads(logged).items() if name not in ("time", "sha256")}


@pytest.mark.slow
def test_a_killed_registration_goes_on_where_it_stopped(home: Path, tmp_path: Path):
    whole = tmp_path / "whole"
    shutil.copytree(home, whole)
    done, writes = attempts("two_champions", whole, 0)[0].split()
    expected = state(whole)
    assert done == "done"
    assert [(version, aliases) for version, aliases, _ in expected["versions"]] == [
        (2, ["champion"]),
        (1, ["previous"]),
    ]
    assert expected["points"] == {1} and expected["data"] == [1, 1] and expected["models"] == ["READY", "READY"]

    for share in range(1, 16):
        killed = tmp_path / f"killed{share}"
        shutil.copytree(home, killed)
        outcome = attempts("two_champions", killed, share * int(writes) // 16, 0)
        assert [line.split()[0] for line in outcome] == ["killed", "done"]
        assert state(killed) == expected


def test_killed_again_and_again(home: Path):
    (home / "mlflow.db").unlink()  # the first kill comes amid MLflow's migrations
    outcome = attempts("two_champions", home, 200, 40, 90, 0)
    assert outcome[:3] == ["killed"] * 3 and outcome[3].startswith("done")
    found = state(home)
    assert [version[:2] for version in found["versions"]] == [(2, ["champion"]), (1, ["previous"])]
    assert found["points"] == {1} and found["data"] == [1, 1] and found["models"] == ["READY", "READY"]
    assert [status for status, *_ in found["runs"]] == ["FINISHED", "FINISHED"]
    assert len(found["weights"]) == 2 and found["left over"] == []


def test_killed_publishers_leave_one_line_of_generations(tiny_recipe: Recipe, tmp_path: Path):
    home = tmp_path / "home"
    settings = Settings(home=home)
    release = release_made_by_hand(tiny_recipe, Store.of(settings))
    (home / "release.json").write_text(release.model_dump_json())
    outcome = attempts("forty_generations", home, *range(1, 37, 3))
    assert outcome[:12] == ["killed"] * 12
    half = history(settings)
    assert load_manifest(home / "manifests" / CURRENT) in [p.manifest for p in half[-2:]]

    assert attempts("forty_generations", home, 0)[0].startswith("done")
    whole = history(settings)
    assert [p.manifest.generation for p in whole] == list(range(1, 41))
    assert [p.sha256 for p in whole[: len(half)]] == [p.sha256 for p in half]
    assert (home / "manifests" / CURRENT).read_bytes() == whole[-1].path.read_bytes()
    assert json.loads((home / "manifests" / CURRENT).read_text())["generation"] == 40
