"""What a run of a recipe would do, and why, without doing any of it."""

from dataclasses import dataclass
from graphlib import TopologicalSorter
from typing import NamedTuple

import dagster as dg

from assets.about import SOURCE_VERSION
from assets.chain import recipe_assets
from assets.definitions import bases_of, uncollected
from assets.fleet import base_version
from assets.project import Project
from assets.wiring import base_key_of, teacher_key_of, teacher_of
from supply_chain.data.source import locate
from supply_chain.recipe import Recipe

_CODE, _DATA, _INPUT = "dagster/code_version", "dagster/data_version", "dagster/input_data_version/"
Made = dict[dg.AssetKey, dg.EventLogEntry | None]
"""What each asset made last."""


@dataclass(frozen=True)
class Planned:
    """One asset of a run: `why` it is made, or None when what it last made still stands."""

    asset: str
    why: str | None
    known: bool = True
    """Whether it was ever made."""


def plan(recipe: Recipe, project: Project) -> list[Planned]:
    """Every asset of a recipe's run in the order in which data flow.

    Asked before the run, so that a stage after a changed one is named even where it may turn out that
    the change made no difference to it. Raises what locating the source raises.
    """
    return plans([recipe], project)[recipe.name]


def plans(recipes: list[Recipe], project: Project) -> dict[str, list[Planned]]:
    """The plan of each recipe, by name; declarations and history are read once for all of them."""
    project.dagster_home()
    with uncollected(), dg.DagsterInstance.get() as instance:
        nodes = _nodes(_with_teachers(recipes, project), project)
        orders = {recipe.name: _order(recipe, nodes) for recipe in recipes}
        records = instance.get_asset_records(sorted(set().union(*orders.values())))
        made = {record.asset_entry.asset_key: record.asset_entry.last_materialization for record in records}
        return {recipe.name: _plan(orders[recipe.name], nodes, project, made) for recipe in recipes}


def _with_teachers(recipes: list[Recipe], project: Project) -> list[Recipe]:
    """These recipes and those that they learn from, and so on."""
    found, due = {recipe.name: recipe for recipe in recipes}, list(recipes)
    while due:
        name = teacher_of(due.pop())
        if name is not None and name not in found:
            found[name] = project.recipe(name)
            due.append(found[name])
    return list(found.values())


class _Node(NamedTuple):
    code_version: str
    parents: list[dg.AssetKey]
    recipe: Recipe | None = None


def _nodes(recipes: list[Recipe], project: Project) -> dict[dg.AssetKey, _Node]:
    """The assets of these recipes and their bases. Dagster's definitions, which are slow to make, say the same."""
    own = [asset for recipe in recipes for asset in recipe_assets(recipe, project)]
    bases = {base_key_of(name): _Node(base_version(project.catalogue.get(name)), []) for name in bases_of(recipes)}
    return bases | {asset.key: _Node(asset.code_version, asset.parents, asset.recipe) for asset in own}


def _order(recipe: Recipe, nodes: dict[dg.AssetKey, _Node]) -> list[dg.AssetKey]:
    """What a run of the recipe makes, as data flow: `selection_of` without Dagster's definitions."""
    teacher = teacher_key_of(recipe)
    due = [base_key_of(recipe.base), *([teacher] if teacher else []), *(k for k in nodes if k.path[0] == recipe.name)]
    graph: dict[dg.AssetKey, list[dg.AssetKey]] = {}
    while due:
        key = due.pop()
        if key not in graph:
            graph[key] = nodes[key].parents
            due += graph[key]
    sorter, order = TopologicalSorter(graph), list[dg.AssetKey]()
    sorter.prepare()
    while sorter.is_active():
        level = sorted(sorter.get_ready())
        order += level
        sorter.done(*level)
    return order


def _plan(order: list[dg.AssetKey], nodes: dict[dg.AssetKey, _Node], project: Project, all_made: Made) -> list[Planned]:
    found: dict[dg.AssetKey, Planned] = {}
    for key in order:
        node, made = nodes[key], all_made.get(key)
        why = _why(made, node.code_version, [found[parent] for parent in node.parents])
        if why is None and node.recipe and key.path[-1] == "curated_data":
            why = _new_source(made, node.recipe, project)
        known = made is not None and made.asset_materialization is not None
        found[key] = Planned(key.to_user_string(), why or _newer(made, node.parents, all_made), known)
    return list(found.values())


def _why(made: dg.EventLogEntry | None, code_version: str | None, parents: list[Planned]) -> str | None:
    if made is None or made.asset_materialization is None:
        return "was never made"
    if (made.asset_materialization.tags or {}).get(_CODE) != code_version:
        return "its part of the recipe changed"
    due = [parent.asset.rpartition("/")[2] for parent in parents if parent.why]
    return f"follows {', '.join(sorted(due))}" if due else None


def _new_source(made: dg.EventLogEntry | None, recipe: Recipe, project: Project) -> str | None:
    assert made is not None
    assert made.asset_materialization is not None
    last = made.asset_materialization.metadata.get(SOURCE_VERSION)
    now = locate(recipe.data.source, project.settings.downloads, project.settings.root).version
    return None if last is not None and last.value == now else "the source's bytes changed"


def _newer(made: dg.EventLogEntry | None, parents: list[dg.AssetKey], all_made: Made) -> str | None:
    assert made is not None
    assert made.asset_materialization is not None
    tags = made.asset_materialization.tags or {}
    newer = [
        parent.path[-1]
        for parent in sorted(parents)
        if (version := _version(all_made.get(parent))) is not None
        and tags.get(_INPUT + "/".join(parent.path), version) != version
    ]
    return f"{', '.join(newer)} was made since" if newer else None


def _version(event: dg.EventLogEntry | None) -> str | None:
    made = event.asset_materialization if event else None
    return (made.tags or {}).get(_DATA) if made else None
