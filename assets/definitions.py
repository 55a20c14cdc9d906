"""Wires recipes, base models and the fleet into one Dagster code location."""

import gc
from collections.abc import Iterator
from contextlib import contextmanager

import dagster as dg

from assets.automate import schedules, sensors
from assets.chain import recipe_assets
from assets.console import console_logger
from assets.drifting import drift_sensors
from assets.fleet import base_asset, faulty_asset, manifest_asset
from assets.io_manager import ReferenceIOManager
from assets.notices import notice_sensors
from assets.project import Project
from assets.workers import WorkerClient
from supply_chain.errors import InvalidRecipe
from supply_chain.recipe import Recipe
from supply_chain.recipe.distill import DistillTrain
from supply_chain.recipe.load import load_recipes


def build(project: Project) -> dg.Definitions:
    """Every asset of a project; a recipe that cannot be read becomes an asset that says why."""
    project.dagster_home()
    references = ReferenceIOManager(project.references, project.store)
    resources = {
        "io_manager": dg.IOManagerDefinition.hardcoded_io_manager(references),
        "pipes": dg.ResourceDefinition.hardcoded_resource(WorkerClient()),
    }
    with uncollected():
        recipes, faulty = read_recipes(project)
        assets = [asset.definition(resources) for recipe in recipes for asset in recipe_assets(recipe, project)]
    return dg.Definitions(
        assets=[
            *(base_asset(project.catalogue.get(name), project) for name in bases_of(recipes)),
            *assets,
            *(faulty_asset(name, error) for name, error in faulty.items()),
            manifest_asset([recipe.name for recipe in recipes], project),
        ],
        schedules=schedules(recipes),
        sensors=[*sensors(recipes, project), *drift_sensors(recipes, project), *notice_sensors(project)],
        resources=resources,
        executor=dg.in_process_executor,
        loggers={"console": console_logger},
    )


def read_recipes(project: Project) -> tuple[list[Recipe], dict[str, InvalidRecipe]]:
    """Recipes that load, and the faults of the others by file name."""
    around = project.catalogue.surroundings(project.settings.root, project.settings.recipes)
    return load_recipes(project.settings.recipes, around)


@contextmanager
def uncollected() -> Iterator[None]:
    """Without the garbage collector, which would walk thousands of definitions again and again and find none to drop:
    a third of the time."""
    on = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if on:
            gc.enable()


def bases_of(recipes: list[Recipe]) -> list[str]:
    """The base models that recipes start from or learn from."""
    taught = {r.train.teacher.base for r in recipes if isinstance(r.train, DistillTrain) and r.train.teacher.base}
    return sorted({recipe.base for recipe in recipes} | taught)


@dg.definitions
def defs() -> dg.Definitions:
    """The code location that `workspace.yaml` names."""
    return build(Project.here())
