"""A project of 300 recipes, all in service. `python -m benchmarks.fleet_300 [--recipes N] [--picture FILE]`.

Every champion has a scorecard, a decision and a report in the store, and a place in the decision log. Timed, each
in a process of its own: the definitions, `supply-chain status`, the plan of all recipes (`supply-chain explain`,
where nothing has run in Dagster yet: every asset is looked up), and the fleet page in a browser. Wall time is what
a person waits; CPU time is given beside it, since the machine may be shared.
"""

import argparse
import json
import os
import resource
import shutil
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path

import uvicorn

from benchmarks.measure import ROOT, report
from evals.records import Scorecard
from registry.decisions import Act, Log, Moved
from review.accounts import Account, Accounts, hashed
from review.app import create_app
from review.security import Door
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
_LOAD = "from assets.definitions import defs; from assets.project import Project; from assets.definitions import build;"
_LOAD += "r = build(Project.here()).get_repository_def(); print(len(r.asset_graph.get_all_asset_keys()))"


def main() -> None:
    """Prints the figures and keeps them in `benchmarks/results/fleet_300.json`."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--recipes", type=int, default=300)
    parser.add_argument("--picture", type=Path)
    asked = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        settings = project(Path(name), asked.recipes)
        cli = [sys.executable, "-m", "assets.cli"]
        loading = timed([sys.executable, "-c", _LOAD], settings)
        status = timed([*cli, "status", "--json"], settings)
        explain = timed([*cli, "explain", "--json"], settings)
        rows = json.loads(status["output"])
        assert len(rows) == asked.recipes and all(row["champion"] == "version 1" for row in rows)
        page_s = browse(settings, asked.picture, asked.recipes) if asked.picture else None
    for found in (loading, status, explain):
        found.pop("output")
    report(
        "fleet_300", recipes=asked.recipes, definitions=loading, status=status, plan_of_all=explain, fleet_page_s=page_s
    )


def project(folder: Path, count: int) -> Settings:
    """A project with `count` recipes, each with a champion."""
    root = folder / "project"
    path = write_tiny_project(root)
    text = path.read_text().replace(
        "route: ", "automate: {schedule: {cron: '0 3 * * 1', timezone: Europe/Berlin}, max_age_days: 90}\nroute: "
    )
    path.unlink()
    (root / "recipes/base_models.yaml").write_text(CATALOGUE.format(path=folder))
    (root / "recipes/fleet.yaml").write_text(FLEET_FILE)
    settings = Settings(root=root, home=folder / "home", recipes=root / "recipes")
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
    return settings


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


if __name__ == "__main__":
    main()
