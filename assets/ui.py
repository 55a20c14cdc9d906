"""The Dagster UI with its daemon, which follows the recipes' folder.

`dagster dev` reads definitions once. Here a recipe that was added, edited or removed in any sub-folder, or a suite,
is in the UI after seconds, and in the daemon's schedules and sensors within a minute, without a restart.
"""

import json
import logging
import signal
import subprocess
import sys
import time
import urllib.request
from contextlib import suppress
from http.client import HTTPException
from pathlib import Path

from assets.project import Project
from supply_chain.settings import PROJECT

_LOOK_S, _RELOAD_S = 1.0, 300
_RELOAD = "mutation { reloadWorkspace { __typename ... on PythonError { message } } }"
_log = logging.getLogger("supply_chain.ui")
Signs = dict[Path, tuple[int, int]]


def serve(project: Project, host: str, port: int) -> int:
    """Runs until it is stopped; the exit code of `dagster dev`."""
    project.dagster_home()
    workspace = str(PROJECT / "workspace.yaml")
    command = [sys.executable, "-m", "dagster", "dev", "-w", workspace, "-h", host, "-p", str(port)]
    served = subprocess.Popen(command, cwd=PROJECT)  # noqa: S603 (our own command)
    signal.signal(signal.SIGTERM, lambda *_: served.send_signal(signal.SIGINT))
    with suppress(KeyboardInterrupt):  # `dagster dev` got the same signal from the terminal
        _follow(served, project, f"http://{host}:{port}/graphql")
    return served.wait()


def signs(project: Project) -> Signs:
    """Every file that definitions are made from, with what changes when it is written."""
    folders = [project.settings.recipes, project.settings.root / "evals/suites"]
    found: Signs = {}
    for path in (path for folder in folders for path in folder.rglob("*.yaml")):
        with suppress(FileNotFoundError):  # removed since it was listed
            stat = path.stat()
            found[path] = (stat.st_mtime_ns, stat.st_size)
    return found


def _follow(served: "subprocess.Popen[bytes]", project: Project, url: str) -> None:
    """Reloads when files differ from those that were loaded; tries again while the server does not answer."""
    loaded = signs(project)
    while served.poll() is None:
        time.sleep(_LOOK_S)
        found = signs(project)
        if found != loaded and _reload(url):
            loaded = found
            _log.warning("recipes changed: the UI shows them now")


def _reload(url: str) -> bool:
    """Whether the UI read all definitions anew; what is wrong with them is shown there."""
    body = json.dumps({"query": _RELOAD}).encode()
    asked = urllib.request.Request(url, body, {"Content-Type": "application/json"})  # noqa: S310 (our own server)
    try:
        with urllib.request.urlopen(asked, timeout=_RELOAD_S) as answer:  # noqa: S310
            return "errors" not in json.load(answer)
    except (OSError, HTTPException, ValueError):  # it is not there yet, or ended while it answered
        return False
