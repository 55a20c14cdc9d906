"""A project of 300 recipes, all in service. `python -m benchmarks.fleet_300 [--recipes N] [--only PART …]`.

Every champion has a scorecard, a decision and a report in the store, a place in the decision log and its assets'
materializations in Dagster. Timed, each in a process of its own: the definitions, `supply-chain status`, the plan of
all recipes (`supply-chain explain`: nothing is to be done), the fleet page and the Dagster UI in a browser. Wall time
is what a person waits; CPU time is given beside it, since the machine may be shared.
"""

import argparse
import json
import os
import resource
import shutil
import socket
import subprocess
import sys
import tempfile
import threading
import time
import urllib.request
from pathlib import Path

import uvicorn

from assets.about import SOURCE_VERSION
from assets.definitions import build
from assets.project import Project
from benchmarks.measure import ROOT, report
from evals.records import Scorecard
from registry.decisions import Act, Log, Moved
from review.accounts import Account, Accounts, hashed
from review.app import create_app
from review.security import Door
from supply_chain.data.source import locate
from supply_chain.recipe import load_recipe
from supply_chain.recipe.part import Surroundings
from supply_chain.settings import Settings
from supply_chain.store import Store, write_atomically
from tests.assets.conftest import CATALOGUE
from tests.assets.conftest import FLEET as FLEET_FILE
from tests.conftest import write_tiny_project
from tests.registry.evidence import release_made_by_hand
from tests.registry.work import FLEET

ME = Act("benchmark", "as large as planned")
PARTS = ["definitions", "status", "plan", "fleet_page", "dagster_ui"]
_LOAD = "from assets.project import Project; from assets.definitions import build;"
_LOAD += "r = build(Project.here()).get_repository_def(); print(len(r.asset_graph.get_all_asset_keys()))"


def main() -> None:
    """Prints the figures and keeps them in `benchmarks/results/fleet_300.json`."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--recipes", type=int, default=300)
    parser.add_argument("--folder", type=Path, help="keeps the project there, and takes the one that is there")
    parser.add_argument("--only", nargs="+", choices=PARTS, default=PARTS)
    parser.add_argument("--pictures", type=Path, default=Path(tempfile.gettempdir()), help="folder for screenshots")
    asked = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        settings = project(asked.folder or Path(name), asked.recipes)
        cli = [sys.executable, "-m", "assets.cli"]
        commands = {
            "definitions": [sys.executable, "-c", _LOAD],
            "status": [*cli, "status", "--json"],
            "plan": [*cli, "explain", "--json"],
        }
        figures: dict[str, object] = {}
        for part in asked.only:
            if part in commands:
                figures[part] = found = timed(commands[part], settings)
                check(part, str(found.pop("output")), asked.recipes)
        if "fleet_page" in asked.only:
            figures["fleet_page_s"] = browse(settings, asked.pictures / "fleet_page.png", asked.recipes)
        if "dagster_ui" in asked.only:
            figures["dagster_ui"] = look(settings, asked.pictures / "dagster_ui.png", asked.recipes)
    report("fleet_300", recipes=asked.recipes, at_most={"definitions_s": 10, "status_s": 3, "plan_s": 10}, **figures)


def check(part: str, printed: str, count: int) -> None:
    """A figure counts only if the work was done."""
    if part == "definitions":
        assert int(printed) > 10 * count, printed
    elif part == "status":
        rows = json.loads(printed)
        assert len(rows) == count and all(row["champion"] == "version 1" for row in rows)
    else:
        rows = json.loads(printed)
        assert len(rows) > 10 * count and all(row["run"] == "no" for row in rows), rows[:2]


def project(folder: Path, count: int) -> Settings:
    """A project with `count` recipes, each with a champion and every asset up to date."""
    root = folder / "project"
    settings = Settings(root=root, home=folder / "home", recipes=root / "recipes")
    if (folder / "made").exists():
        return settings
    path = write_tiny_project(root)
    text = path.read_text().replace(
        "route: ", "automate: {schedule: {cron: '0 3 * * 1', timezone: Europe/Berlin}, max_age_days: 90}\nroute: "
    )
    path.unlink()
    (root / "recipes/base_models.yaml").write_text(CATALOGUE.format(path=folder))
    (root / "recipes/fleet.yaml").write_text(FLEET_FILE)
    store, log = Store.of(settings), Log(settings.home)
    for index in range(count):
        name = f"specialist_{index:03d}"
        file = root / f"recipes/{name}.yaml"
        file.write_text(text.replace("name: tiny_reviews", f"name: {name}").replace("tiny-reviews", name))
        recipe = load_recipe(file, Surroundings(root=root, bases=("tiny",)))
        claims = release_made_by_hand(recipe, store).claims()
        log.append(Moved(action="promote", model=name, version=1, replaced=None, claims=claims), ME)
        for asset, kind in (("decision", "decision"), ("quantized_model", "artifact"), ("report", "report")):
            claim = getattr(claims, kind)
            ref = {"kind": kind, "key": claim.key, "digest": claim.digest}
            write_atomically(settings.home / f"references/{name}.{asset}.json", json.dumps(ref))
    assert next(store.all(Scorecard), None) is not None
    materialized(settings)
    (folder / "made").touch()
    return settings


def materialized(settings: Settings) -> None:
    """Tells Dagster that every asset was made of today's recipes, so that a plan finds nothing to do."""
    import dagster as dg

    project = Project(settings)
    os.environ["DAGSTER_HOME"] = str(settings.home / "dagster")
    project.dagster_home()
    graph = build(project).resolve_asset_graph()
    version = locate(project.recipe("specialist_000").data.source, settings.downloads, settings.root).version
    with dg.DagsterInstance.get() as instance:
        for key in (key for level in graph.toposorted_asset_keys_by_level for key in level):
            tags = {"dagster/code_version": str(graph.get(key).code_version), "dagster/data_version": "1"}
            event = dg.AssetMaterialization(key, metadata={SOURCE_VERSION: version}, tags=tags)
            instance.report_runless_asset_event(event)


def timed(command: list[str], settings: Settings) -> dict[str, object]:
    """Seconds on the clock and of CPU, and what was printed."""
    before, began = resource.getrusage(resource.RUSAGE_CHILDREN), time.perf_counter()
    environment = {**os.environ, **settings.environment(), "DAGSTER_HOME": str(settings.home / "dagster")}
    done = subprocess.run(command, cwd=ROOT, env=environment, check=True, capture_output=True, text=True)
    wall_s, after = time.perf_counter() - began, resource.getrusage(resource.RUSAGE_CHILDREN)
    cpu_s = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    return {"wall_s": round(wall_s, 2), "cpu_s": round(cpu_s, 2), "output": done.stdout}


def browse(settings: Settings, picture: Path, count: int) -> float:
    """Seconds until the fleet page is there, once recipes were read; writes its picture."""
    from playwright.sync_api import sync_playwright

    from registry.lifecycle import Desk

    people = Accounts(settings.home / "review/accounts.json")
    people.add("ada", Account(roles=["domain"], password=hashed("benchmark password")))
    app = create_app(Door(Desk(FLEET, settings, Store.of(settings)), people), ["127.0.0.1"])
    server = uvicorn.Server(uvicorn.Config(app, port=0, log_level="warning"))
    thread = threading.Thread(target=server.run)
    thread.start()
    while not server.started:
        time.sleep(0.05)
    url = f"http://127.0.0.1:{server.servers[0].sockets[0].getsockname()[1]}"
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=shutil.which("chromium"), args=["--no-sandbox"])
        page = browser.new_page(viewport={"width": 1280, "height": 800})
        page.goto(f"{url}/login")
        page.get_by_label("Name").fill("ada")
        page.get_by_label("Password").fill("benchmark password")
        page.get_by_role("button", name="Log in").click()
        page.get_by_role("heading", name="Awaiting").wait_for()
        page.goto(f"{url}/fleet")
        began = time.perf_counter()
        page.goto(f"{url}/fleet?sort=cost")
        page.get_by_text(f"{count} of {count} specialists").wait_for()
        seconds = time.perf_counter() - began
        page.screenshot(path=picture)
        browser.close()
    server.should_exit = True
    thread.join()
    return round(seconds, 2)


def look(settings: Settings, picture: Path, count: int) -> dict[str, float]:
    """Seconds until the Dagster UI answers, and shows all assets, a recipe's graph and an asset; writes pictures."""
    from playwright.sync_api import sync_playwright

    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    environment = {**os.environ, **settings.environment(), "DAGSTER_HOME": str(settings.home / "dagster")}
    command = [sys.executable, "-m", "dagster_webserver", "-m", "assets.definitions", "-p", str(port)]
    began, seconds = time.perf_counter(), {}
    server = subprocess.Popen(command, cwd=ROOT, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        url = f"http://127.0.0.1:{port}"
        while not _answers(url):
            assert server.poll() is None
            time.sleep(0.25)
        seconds["ready_s"] = round(time.perf_counter() - began, 2)
        with sync_playwright() as playwright:
            browser = playwright.chromium.launch(executable_path=shutil.which("chromium"), args=["--no-sandbox"])
            page = browser.new_page(viewport={"width": 1600, "height": 1000})
            page.set_default_timeout(120_000)
            for name, place, text in (
                ("first_page_s", "/locations/assets.definitions/assets", "specialist_000"),
                ("one_recipe_s", f"/locations/assets.definitions/asset-groups/specialist_{count // 2:03d}", "champion"),
                ("one_asset_s", f"/assets/specialist_{count // 2:03d}/adapter?view=overview", "What training learned"),
            ):
                began = time.perf_counter()
                page.goto(f"{url}{place}")
                page.get_by_text(text).first.wait_for()
                seconds[name] = round(time.perf_counter() - began, 2)
                page.screenshot(path=picture.with_stem(f"{picture.stem}_{name.removesuffix('_s')}"))
            browser.close()
    finally:
        server.terminate()
        server.wait()
    return seconds


def _answers(url: str) -> bool:
    try:
        with urllib.request.urlopen(f"{url}/server_info", timeout=5):
            return True
    except OSError:
        return False


if __name__ == "__main__":
    main()
