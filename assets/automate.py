"""Runs recipes by themselves: at their times, and when their data change."""

import json
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any

import dagster as dg

from assets.about import SOURCE_VERSION
from assets.fleet import MANIFEST
from assets.project import Project
from assets.runs import RECIPE, busy
from assets.wiring import base_key_of, teacher_key_of
from supply_chain.data.source import locate
from supply_chain.data.stamp import stamp
from supply_chain.errors import SupplyChainError
from supply_chain.recipe import Recipe

_POLL_S = 30


def selection_of(recipe: Recipe) -> dg.AssetSelection:
    """What one run of a recipe makes; a teacher is made with it, unless it was made before."""
    own = dg.AssetSelection.groups(recipe.name)
    teacher = teacher_key_of(recipe)
    taught = dg.AssetSelection.assets(teacher).upstream() if teacher else own
    return own | taught | dg.AssetSelection.assets(base_key_of(recipe.base))


def schedules(recipes: list[Recipe]) -> list[dg.ScheduleDefinition]:
    """One schedule for each time that recipes name; a schedule per recipe would not scale."""
    times: dict[tuple[str, str], list[Recipe]] = {}
    for recipe in recipes:
        if recipe.automate.schedule is not None:
            at = recipe.automate.schedule
            times.setdefault((at.cron, at.timezone), []).append(recipe)
    return [_schedule(cron, zone, due) for (cron, zone), due in sorted(times.items())]


def sensors(recipes: list[Recipe], project: Project) -> list[Any]:
    """The sensor of new data, if a recipe asks for it, and the one that renews the manifest."""
    watched = [recipe for recipe in recipes if recipe.automate.on_new_data]
    manifest = dg.AutomationConditionSensorDefinition(
        "renew_manifest",
        target=dg.AssetSelection.assets(MANIFEST),
        default_status=dg.DefaultSensorStatus.RUNNING,
        description="Publishes the routing manifest anew when a champion changes.",
    )
    return [manifest, *([_new_data(watched, project)] if watched else [])]


def _schedule(cron: str, zone: str, due: list[Recipe]) -> dg.ScheduleDefinition:
    @dg.schedule(
        cron,
        name=_name(cron, zone),
        execution_timezone=zone,
        target=union_of(due),
        default_status=dg.DefaultScheduleStatus.RUNNING,
        description=f"{', '.join(recipe.name for recipe in due)} at {cron} ({zone})",
    )
    def scheduled(context: dg.ScheduleEvaluationContext) -> Iterator[dg.RunRequest | dg.SkipReason]:
        at, working = context.scheduled_execution_time, busy(context.instance)
        ready = [recipe for recipe in due if recipe.name not in working]
        if not ready:
            yield dg.SkipReason(f"still running: {', '.join(sorted(recipe.name for recipe in due))}")
        for recipe in ready:
            yield request_of(recipe, f"{recipe.name}:{at.isoformat()}", context.repository_def)

    return scheduled


def _new_data(watched: list[Recipe], project: Project) -> dg.SensorDefinition:
    @dg.sensor(
        name="new_data",
        asset_selection=union_of(watched),
        minimum_interval_seconds=_POLL_S,
        default_status=dg.DefaultSensorStatus.RUNNING,
        description="Runs a recipe again when the bytes of its source differ from its last curated data.",
    )
    def new_data(context: dg.SensorEvaluationContext) -> dg.SensorResult:
        seen: dict[str, Any] = json.loads(context.cursor or "{}")
        working, now = busy(context.instance), datetime.now(UTC)
        requests: list[dg.RunRequest] = []
        for recipe in watched:
            quiet = recipe.automate.quiet_hours
            if recipe.name in working or (quiet is not None and quiet.hold(now)):
                continue
            try:
                found = _look(recipe, seen.get(recipe.name), now, project)
            except (SupplyChainError, OSError) as error:
                context.log.warning(f"{recipe.name}: its source cannot be looked at: {error}")
                continue
            seen[recipe.name] = found
            made = _last_made(recipe, context.instance)
            if made is not None and made[0] != found["version"]:
                key = f"{recipe.name}:{made[1]}:{found['version']}"  # a failed attempt is not repeated by itself
                requests.append(request_of(recipe, key, context.repository_def))
        return dg.SensorResult(run_requests=requests, cursor=json.dumps(seen, sort_keys=True))

    return new_data


def _look(recipe: Recipe, seen: dict[str, Any] | None, now: datetime, project: Project) -> dict[str, Any]:
    """The source's version; read only if its files were touched or, where that cannot be seen, after a while."""
    source, settings = recipe.data.source, project.settings
    sign = stamp(source, settings.root)
    if seen is not None:
        age_s = (now - datetime.fromisoformat(seen["at"])).total_seconds()
        if seen["stamp"] == sign and (sign is not None or age_s < 60 * recipe.automate.look_minutes):
            return seen
    return {"version": locate(source, settings.downloads, settings.root).version, "stamp": sign, "at": now.isoformat()}


def _last_made(recipe: Recipe, instance: dg.DagsterInstance) -> tuple[str, int] | None:
    """Version of the source that the curated data were last made from, and that event's number."""
    event = instance.get_latest_materialization_event(dg.AssetKey([recipe.name, "curated_data"]))
    if event is None or event.asset_materialization is None:
        return None  # the first run is a person's
    record = instance.fetch_materializations(dg.AssetKey([recipe.name, "curated_data"]), limit=1).records[0]
    return str(event.asset_materialization.metadata[SOURCE_VERSION].value), record.storage_id


def request_of(recipe: Recipe, key: str, repository: dg.RepositoryDefinition | None) -> dg.RunRequest:
    """A run of a recipe; Dagster runs each key once."""
    assert repository is not None
    keys = sorted(selection_of(recipe).resolve(repository.asset_graph))
    return dg.RunRequest(run_key=key, asset_selection=keys, tags={RECIPE: recipe.name})


def union_of(recipes: list[Recipe]) -> dg.AssetSelection:
    """What runs of several recipes make."""
    selection = selection_of(recipes[0])
    for recipe in recipes[1:]:
        selection |= selection_of(recipe)
    return selection


def _name(cron: str, zone: str) -> str:
    words = {"*": "any", "/": "every", "-": "to", ",": "and", " ": "_"}
    text = "".join(words.get(letter, letter) for letter in f"at {cron} {zone}".replace("/", " "))
    return "".join(letter if letter.isalnum() or letter == "_" else "_" for letter in text)
