"""What a run of a recipe would do, and why, without doing any of it."""

from collections.abc import Set
from dataclasses import dataclass
from typing import Any

import dagster as dg

from assets.about import SOURCE_VERSION
from assets.automate import selection_of
from assets.definitions import build
from assets.project import Project
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
    """The plan of each recipe, by name; definitions and history are read once for all of them."""
    project.dagster_home()
    graph = build(project).resolve_asset_graph()
    order = [key for level in graph.toposorted_asset_keys_by_level for key in sorted(level)]
    with dg.DagsterInstance.get() as instance:
        records = instance.get_asset_records(order)
    made = {record.asset_entry.asset_key: record.asset_entry.last_materialization for record in records}
    return {recipe.name: _plan(recipe, project, graph, order, made) for recipe in recipes}


def _plan(recipe: Recipe, project: Project, graph: Any, order: list[dg.AssetKey], all_made: Made) -> list[Planned]:
    wanted = selection_of(recipe).resolve(graph)
    found: dict[dg.AssetKey, Planned] = {}
    for key in order:
        if key in wanted:
            node, made = graph.get(key), all_made.get(key)
            why = _why(made, node.code_version, [found[parent] for parent in node.parent_keys if parent in found])
            if why is None and key.path[-1] == "curated_data":
                why = _new_source(made, recipe, project)
            known = made is not None and made.asset_materialization is not None
            found[key] = Planned(key.to_user_string(), why or _newer(made, node.parent_keys, all_made), known)
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


def _newer(made: dg.EventLogEntry | None, parents: Set[dg.AssetKey], all_made: Made) -> str | None:
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
