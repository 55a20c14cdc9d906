"""Publishes a fleet of 1,000 models and routes. `python -m benchmarks.fleet_size`.

Every champion has an artifact, a scorecard, a decision and a report of its own in the store, and a
place in the decision log. Timed: a change of one route, published; and reading the manifest back.
"""

import argparse
import json
import tempfile
import time
from pathlib import Path

from benchmarks.measure import report
from registry.decisions import Act, Log, Moved, standings
from registry.generations import load_manifest
from registry.lifecycle import champions_of
from registry.manifest import compose, put_in_force
from registry.seen import _SETTLED_NS
from registry.signing import Key
from supply_chain.recipe import load_recipe
from supply_chain.recipe.part import Surroundings
from supply_chain.settings import Settings
from supply_chain.store import Store
from tests.conftest import write_tiny_project
from tests.registry.evidence import release_made_by_hand
from tests.registry.work import FLEET

ME = Act("benchmark", "as large as planned")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--models", type=int, default=1000)
    count = parser.parse_args().models
    with tempfile.TemporaryDirectory() as name:
        root, settings = Path(name) / "project", Settings(home=Path(name) / "home")
        store, log = Store.of(settings), Log(settings.home)
        base = load_recipe(write_tiny_project(root), Surroundings(root=root, bases=("tiny",)))
        lives = []
        for index in range(count):
            words = [f"word{index}-{n}" for n in range(10)]
            route = base.route.model_copy(update={"task": f"task-{index:04d}", "keywords": words})
            made = release_made_by_hand(base.model_copy(update={"name": f"m{index:04d}", "route": route}), store)
            lives.append(Moved(action="promote", model=made.name, version=1, replaced=None, claims=made.claims()))
        started = time.perf_counter()
        for moved in lives[: count // 10]:
            log.append(moved, ME)
        append_ms = (time.perf_counter() - started) / (count // 10) * 1000
        for moved in lives[count // 10 :]:
            log.append(moved, ME)
        time.sleep(_SETTLED_NS / 1e9 + 0.1)
        first_s = _publish(settings, store)[0]
        time.sleep(_SETTLED_NS / 1e9 + 0.1)
        changed = []
        for version in range(2, 7):
            log.append(lives[0].model_copy(update={"version": version}), ME)
            changed.append(_publish(settings, store))
        path = changed[-1][2]
        started = time.perf_counter()
        manifest = load_manifest(path)
        load_s = time.perf_counter() - started
        report(
            "fleet_size",
            models=len(manifest.models),
            routes=len(manifest.routes),
            publish_s=sorted(changed)[len(changed) // 2][0],
            publish_worst_s=max(changed)[0],
            publish_cpu_s=sorted(cpu for _, cpu, _ in changed)[len(changed) // 2],
            first_publish_s=first_s,
            log_entry_ms=append_ms,
            load_s=load_s,
            manifest_mb=path.stat().st_size / 1e6,
            generations=len(json.loads((settings.home / "verified/manifests.json").read_text())),
        )


def _publish(settings: Settings, store: Store) -> tuple[float, float, Path]:
    """Seconds, seconds of this process's CPU, and the generation's file."""
    started, cpu = time.perf_counter(), time.process_time()
    now = standings(Log(settings.home).entries())
    published = put_in_force(
        compose(champions_of(now), FLEET, settings, store), Key.of(FLEET.signing, settings), settings, ME
    )
    return time.perf_counter() - started, time.process_time() - cpu, published.path


if __name__ == "__main__":
    main()
