"""Runs a recipe again when its champion's answers in service no longer look like those it was judged by."""

import json
from datetime import UTC, datetime
from pathlib import Path

import dagster as dg

from assets.automate import request_of, union_of
from assets.project import Project
from assets.runs import busy
from evals.drifted import Drift
from evals.predictions import read_predictions
from evals.records import Scorecard
from registry.decisions import Log, Standing, standings
from supply_chain.errors import EvidenceMismatch, SupplyChainError
from supply_chain.recipe import Recipe
from supply_chain.recipe.automate import OnDrift
from supply_chain.records import Predictions
from supply_chain.store import write_atomically

_POLL_S = 60


def drift_sensors(recipes: list[Recipe], project: Project) -> list[dg.SensorDefinition]:
    """The sensor of drift, if a recipe asks for it."""
    watched = {recipe.name: recipe.automate.on_drift for recipe in recipes if recipe.automate.on_drift is not None}
    chosen = [recipe for recipe in recipes if recipe.name in watched]
    if not chosen:
        return []

    @dg.sensor(
        name="drift",
        asset_selection=union_of(chosen),
        minimum_interval_seconds=_POLL_S,
        default_status=dg.DefaultSensorStatus.RUNNING,
        description="Runs a recipe once for a champion whose answers in service differ from its evaluation's.",
    )
    def drift(context: dg.SensorEvaluationContext) -> dg.SensorResult:
        seen: dict[str, str] = json.loads(context.cursor or "{}")
        working, now = busy(context.instance), datetime.now(UTC)
        champions, requests = standings(Log(project.settings.home).entries()), []
        for recipe in chosen:
            quiet, standing = recipe.automate.quiet_hours, champions.get(recipe.name, Standing())
            held = recipe.name in working or (quiet is not None and quiet.hold(now))
            sign = _sign(project.settings.root / watched[recipe.name].path, standing)
            if held or sign is None or seen.get(recipe.name) == sign:
                continue
            try:
                found = look(recipe.name, watched[recipe.name], standing, project)
            except (SupplyChainError, OSError) as error:
                context.log.warning(f"{recipe.name}: its feedback cannot be compared: {error}")
                continue
            seen[recipe.name] = sign
            if found is not None and found.drifted:
                key = f"{recipe.name}:drift:{found.version}"  # once for a champion; what a run cannot mend stays shown
                requests.append(request_of(recipe, key, context.repository_def))
        return dg.SensorResult(run_requests=requests, cursor=json.dumps(seen, sort_keys=True))

    return [drift]


def look(name: str, spec: OnDrift, standing: Standing, project: Project) -> Drift | None:
    """The champion's drift, kept for `status`; None for fewer than `min_rows` since it serves.

    Raises InvalidInput for feedback that cannot be read, EvidenceMismatch when the answers that the
    champion was judged by are gone.
    """
    from evals.drift import drift_of, served  # noqa: PLC0415 (polars: definitions do without)

    version = standing.champion
    assert version is not None
    labels, confidences = served(project.settings.root / spec.path, spec, standing.decided[version].entry.time)
    if len(labels) < spec.min_rows:
        return None
    card = project.store.find(Scorecard, standing.claims[version].scorecard.key)
    best = card.record.contestant(card.record.candidate) if card else None
    answers = project.store.find(Predictions, best.predictions_key) if best else None
    if answers is None:
        raise EvidenceMismatch(f"the answers that version {version} was judged by are not in the store")
    found = drift_of((name, version), read_predictions(answers), labels, confidences, spec.psi)
    write_atomically(project.settings.home / "drift" / f"{name}.json", found.model_dump_json())
    return found


def _sign(path: Path, standing: Standing) -> str | None:
    """Changes when the file was written or another version serves; None where there is nothing to compare."""
    if standing.champion is None or not path.is_file():
        return None
    stat = path.stat()
    return f"{standing.champion} {stat.st_mtime_ns} {stat.st_size}"
