"""The same calls against a tracking server of its own, over HTTP."""

import os
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest
from mlflow import MlflowClient

from registry.lifecycle import Desk
from registry.release import champions, incumbent, register
from registry.tracking import MlflowTracker
from supply_chain.recipe import Recipe
from supply_chain.settings import Settings
from supply_chain.store import Store
from tests.registry.evidence import evidence_for, store_artifact
from tests.registry.work import FLEET

pytestmark = pytest.mark.slow


@pytest.fixture
def served(settings: Settings, tmp_path: Path) -> Iterator[Settings]:
    """Settings that name a running MLflow server on loopback."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    folder = tmp_path / "server"
    folder.mkdir()
    command = [sys.executable, "-m", "mlflow", "server", "--host", "127.0.0.1", "--port", str(port), "--workers", "1"]
    places = ["--backend-store-uri", f"sqlite:///{folder / 'm.db'}", "--artifacts-destination", str(folder / "files")]
    log = (folder / "log").open("w")
    server = subprocess.Popen([*command, *places], cwd=folder, stdout=log, stderr=log, start_new_session=True)
    try:
        _await(f"http://127.0.0.1:{port}/health", server)
        yield settings.model_copy(update={"mlflow_uri": f"http://127.0.0.1:{port}"})
    finally:
        os.killpg(server.pid, signal.SIGKILL)
        server.wait()


def _await(url: str, server: subprocess.Popen) -> None:
    for _ in range(240):
        assert server.poll() is None, "the server ended"
        try:
            urllib.request.urlopen(url, timeout=2).close()
            return
        except OSError:
            time.sleep(0.5)
    raise AssertionError("the server was not ready in 120 s")


def test_registered_and_promoted_over_http(served: Settings, tiny_recipe: Recipe, store: Store):
    tracker = MlflowTracker(served, tiny_recipe.name, "a" * 64)
    tracker.params({"rank": 2})
    tracker.metrics({"loss": 1.0}, 1)
    tracker.finished()

    found = []
    for salt in ("a", "b"):
        artifact = store_artifact(tiny_recipe, store, salt=salt)
        rival = incumbent(tiny_recipe.name, artifact.digest, served)
        evidence = evidence_for(tiny_recipe, artifact, store, champion=rival.artifact_digest if rival else None)
        release = register(tiny_recipe, artifact, *evidence, tracker.run_id, served, store)
        assert register(tiny_recipe, artifact, *evidence, tracker.run_id, served, store) == release
        found.append(Desk(FLEET, served, store).promote(release))
    assert [(r.version, r.aliases) for r in found] == [(1, ["champion"]), (2, ["champion"])]
    assert [r.version for r in champions(served)] == [2]
    client = MlflowClient(served.tracking_uri, served.tracking_uri)
    aliases = client.get_registered_model(tiny_recipe.name).aliases
    assert {alias: int(version) for alias, version in aliases.items()} == {"champion": 2, "previous": 1}
    assert not (served.home / "mlflow-artifacts").exists()
