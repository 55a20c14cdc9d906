"""The pictures in README, taken from a real run: `python -m benchmarks.pictures RECIPE`.

RECIPE has run in this project (`SUPPLY_CHAIN_HOME`) and asks for a signature, as `benchmarks/newcomer.py` leaves it.
Headless Chromium looks at the Dagster UI, the report, a case of the review and the fleet page; what is seen is written
to `docs/pictures`. `--phone FOLDER` also writes the review pages as a phone shows them there.
"""

import argparse
import io
import os
import shutil
import socket
import subprocess
import sys
import tempfile
import threading
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import uvicorn
from PIL import Image

from assets.project import Project
from assets.run import latest
from benchmarks.measure import ROOT
from registry.release import Release, releases
from review.accounts import Account, Accounts, hashed
from review.app import create_app
from review.cases import panel_of
from review.security import Door

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page

PASSWORD, MOST_BYTES = "only for these pictures", 200_000
ARGS = ["--no-sandbox", "--disable-gpu", "--force-color-profile=srgb"]


def main() -> None:
    """Writes the pictures."""
    from playwright.sync_api import sync_playwright

    parser = argparse.ArgumentParser()
    parser.add_argument("recipe")
    parser.add_argument("--phone", type=Path)
    asked = parser.parse_args()
    project, out = Project.here(), ROOT / "docs/pictures"
    release = newest(asked.recipe, project)
    cases = panel_of(release, project.store).cases
    differ = (n for n, one in enumerate(cases, 1) if one.rival not in (None, one.candidate))
    version = f"/models/{release.name}/{release.version}"
    case = f"{version}/cases/{next(differ, 1)}"
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=shutil.which("chromium"), args=ARGS)
        page = opened(browser, 1280, 800)
        page.goto((latest(asked.recipe, "report", project).path / "report.html").as_uri())
        keep(page.screenshot(), out / "report.png")
        with reviewing(project) as url:
            visit(page, url, {out / "review.png": case, out / "fleet.png": "/fleet"})
            if asked.phone:
                places = {"queue": "/", "case": case, "version": version, "fleet": "/fleet"}
                visit(opened(browser, 390, 844), url, {asked.phone / f"{n}.png": path for n, path in places.items()})
        with dagster(project) as url:
            draw_graph(opened(browser, 2400, 1500), url, asked.recipe, out / "graph.png")
        browser.close()


def opened(browser: "Browser", width: int, height: int) -> "Page":
    """A page of this size; it waits long, since the machine may be busy."""
    page = browser.new_context(viewport={"width": width, "height": height}).new_page()
    page.set_default_timeout(600_000)
    return page


def visit(page: "Page", url: str, places: dict[Path, str]) -> None:
    """Logs in and keeps each place as a picture; a phone's are as long as the page."""
    page.goto(f"{url}/login")
    page.get_by_label("Name").fill("ada")
    page.get_by_label("Password").fill(PASSWORD)
    page.get_by_role("button", name="Log in").click()
    page.get_by_role("heading", name="Awaiting").wait_for()
    for path, place in places.items():
        page.goto(url + place)
        keep(page.screenshot(full_page=page.viewport_size["width"] < 500), path)


def draw_graph(page: "Page", url: str, recipe: str, path: Path) -> None:
    """Keeps the asset graph, once it is laid out and its states came in."""
    page.goto(f"{url}/locations/assets.definitions/asset-groups/{recipe}")
    page.get_by_text("champion", exact=True).first.wait_for()
    page.wait_for_timeout(4000)
    if page.get_by_text("Skip", exact=True).is_visible():  # a form that greets newcomers
        page.get_by_text("Skip", exact=True).click()
    page.wait_for_timeout(15_000)
    keep(page.screenshot(), path)


def newest(recipe: str, project: Project) -> Release:
    """The recipe's last version."""
    return max((r for r in releases(project.settings) if r.name == recipe), key=lambda r: r.version)


def keep(picture: bytes, path: Path) -> None:
    """Writes a PNG with as many colours as fit into 200 kB."""
    image = Image.open(io.BytesIO(picture)).convert("RGB")
    image.thumbnail((1600, 10_000), Image.Resampling.LANCZOS)
    path.parent.mkdir(parents=True, exist_ok=True)
    for colours in (256, 128, 64, 32):
        image.quantize(colours, dither=Image.Dither.NONE).save(path, optimize=True)
        if path.stat().st_size < MOST_BYTES:
            break
    print(f"{path} {path.stat().st_size:,} bytes, {colours} colours")


@contextmanager
def reviewing(project: Project) -> Iterator[str]:
    """The review pages, for a person whose account ends with this."""
    with tempfile.TemporaryDirectory() as folder:
        people = Accounts(Path(folder) / "accounts.json")
        people.add("ada", Account(roles=["domain"], password=hashed(PASSWORD)))
        app = create_app(Door(project.desk, people), ["127.0.0.1"])
        server = uvicorn.Server(uvicorn.Config(app, port=0, log_level="warning"))
        thread = threading.Thread(target=server.run)
        thread.start()
        while not server.started:
            time.sleep(0.05)
        yield f"http://127.0.0.1:{server.servers[0].sockets[0].getsockname()[1]}"
        server.should_exit = True
        thread.join()


@contextmanager
def dagster(project: Project) -> Iterator[str]:
    """The Dagster UI over the project's runs."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    environment = {**os.environ, **project.settings.environment(), "DAGSTER_HOME": str(project.dagster_home())}
    command = [sys.executable, "-m", "dagster_webserver", "-m", "assets.definitions", "-p", str(port)]
    server = subprocess.Popen(command, cwd=ROOT, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        while True:
            assert server.poll() is None, "the Dagster UI ended"
            try:
                urllib.request.urlopen(f"http://127.0.0.1:{port}/server_info", timeout=5).close()
                break
            except OSError:
                time.sleep(0.5)
        yield f"http://127.0.0.1:{port}"
    finally:
        server.terminate()
        server.wait()


if __name__ == "__main__":
    main()
