"""Work that the kill tests interrupt."""

import json
from pathlib import Path

from registry.fleet import Fleet
from registry.lifecycle import Desk
from registry.manifest import publish
from registry.release import Release, register
from supply_chain.recipe import Recipe
from supply_chain.settings import Settings
from supply_chain.store import Store
from tests.registry.evidence import evidence_for, store_artifact

FLEET = Fleet.model_validate(
    {"name": "f1", "fallback": {"name": "generalist", "url_env": "GENERALIST_URL", "usd_per_1k_requests": 1.5}}
)


def two_champions(home: Path) -> None:
    """Registers and promotes two artifacts, one after the other."""
    settings = Settings(home=home)
    store, recipe = Store.of(settings), Recipe.model_validate(json.loads((home / "recipe.json").read_text()))
    champion = None
    for salt in ("a", "b"):
        artifact = store_artifact(recipe, store, salt=salt)
        evidence = evidence_for(recipe, artifact, store, champion=champion)
        release = register(recipe, artifact, *evidence, "t1", settings, store)
        if not (salt == "a" and release.aliases == ["previous"]):  # a resumed attempt goes on with the second
            Desk(FLEET, settings, store).promote(release)
        champion = artifact.digest


def forty_generations(home: Path) -> None:
    """Publishes the next generations up to the fortieth."""
    settings = Settings(home=home)
    store = Store.of(settings)
    release = Release.model_validate_json((home / "release.json").read_text())
    generation = 0
    while generation < 40:
        version = len(list((home / "manifests").glob("[0-9]*.json"))) + 1
        generation = publish([numbered(release, version)], FLEET, settings, store).manifest.generation


def numbered(release: Release, version: int) -> Release:
    return release.model_copy(update={"version": version})
