"""`make ui` follows the recipes' folder: a recipe in a new sub-folder is in the running UI, a removed one is not."""

import json
import os
import signal
import socket
import subprocess
import sys
import urllib.request
from pathlib import Path

import pytest

from assets.project import Project
from tests.assets.conftest import load
from tests.assets.test_automate import NAME, wait_for

PATIENCE_S = 1500
GROUPS = "{ assetNodes { groupName } }"


def groups(url: str) -> set[str]:
    """The groups that the UI shows; none while it does not answer."""
    body = json.dumps({"query": GROUPS}).encode()
    asked = urllib.request.Request(f"{url}/graphql", body, {"Content-Type": "application/json"})
    try:
        with urllib.request.urlopen(asked, timeout=60) as answer:
            return {node["groupName"] for node in json.load(answer)["data"]["assetNodes"]}
    except OSError:
        return set()


@pytest.mark.slow
def test_a_recipe_is_in_the_ui_without_a_restart(project: Project, tmp_path: Path) -> None:
    load(project)
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    path = project.settings.recipes / f"{NAME}.yaml"
    other = project.settings.recipes / "shop/berlin/other.yaml"
    command, url = [sys.executable, "-m", "assets.cli", "ui", "--port", str(port)], f"http://127.0.0.1:{port}"
    with (tmp_path / "log").open("w") as log:
        served = subprocess.Popen(command, stdout=log, stderr=log, env={**os.environ})
        try:
            wait_for(lambda: served.poll() is not None or NAME in groups(url), PATIENCE_S)
            assert "other" not in groups(url), (tmp_path / "log").read_text()[-2000:]
            other.parent.mkdir(parents=True)
            other.write_text(path.read_text().replace(f"name: {NAME}", "name: other").replace("tiny-reviews", "other"))
            wait_for(lambda: "other" in groups(url), PATIENCE_S)
            other.unlink()
            wait_for(lambda: "other" not in groups(url), PATIENCE_S)
            served.send_signal(signal.SIGTERM)
            assert served.wait(PATIENCE_S) == 0, (tmp_path / "log").read_text()[-2000:]
        finally:
            served.kill()
            served.wait()
