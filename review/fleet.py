"""Every specialist at a glance, from recipes, decision log and store: no server is asked."""

import json
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from evals.drifted import Drift
from evals.estimates import Estimate
from evals.records import Contestant, Scorecard
from registry.decisions import Approved, Declined, Log, Logged, Standing, standings
from registry.gate import Decision
from supply_chain.catalogue import load_catalogue
from supply_chain.errors import CorruptData, InvalidRecipe
from supply_chain.recipe import Recipe
from supply_chain.recipe.load import load_recipes
from supply_chain.settings import Settings
from supply_chain.store import Store

GATES = ("passed", "refused", "never run", "faulty recipe", "unreadable")


@dataclass(frozen=True)
class Specialist:
    """One recipe: what serves, how good and dear it is, what waits."""

    name: str
    owner: str = ""
    task: str = ""
    version: int | None = None
    """The champion's."""
    age_days: float | None = None
    """Since it became champion."""
    stale: bool = False
    """Older than the recipe's `max_age_days`."""
    metric: str = ""
    quality: Estimate | None = None
    usd_per_month: float | None = None
    gate: str = "never run"
    headline: str = ""
    """The last decision in a sentence, or what is wrong."""
    waits: tuple[str, ...] = ()
    """Roles whose signature is missing."""
    drift: Drift | None = None
    """The champion's, as the sensor last saw it."""


def specialists(settings: Settings, now: datetime | None = None) -> list[Specialist]:
    """Every recipe by name; one that cannot be read says so. Raises InvalidRecipe for the catalogue."""
    around = load_catalogue(settings).surroundings(settings.root, settings.recipes)
    recipes, faulty = load_recipes(settings.recipes, around)
    log = Log(settings.home).entries()
    now = now or datetime.now(UTC)
    standing, signed = standings(log), _signed(log, now)
    store = Store(settings.home / "store")  # what is here; a shared store is not asked for each row
    found = []
    for recipe in recipes:
        try:
            found.append(_specialist(recipe, standing.get(recipe.name, Standing()), signed, store, settings, now))
        except CorruptData as error:
            found.append(Specialist(recipe.name, recipe.owner, recipe.task, gate="unreadable", headline=str(error)))
    return sorted([*found, *(_faulty(name, error) for name, error in faulty.items())], key=lambda one: one.name)


def _specialist(
    recipe: Recipe,
    standing: Standing,
    signed: dict[str, set[str]],
    store: Store,
    settings: Settings,
    now: datetime,
) -> Specialist:
    judged = _last_decision(recipe.name, store, settings)
    since = _since(standing)
    days = (now - since).total_seconds() / 86_400 if since else None
    card = _champions_card(standing, store)
    best: Contestant | None = card.contestant(card.candidate) if card else None
    return Specialist(
        name=recipe.name,
        owner=recipe.owner,
        task=recipe.task,
        version=standing.champion,
        age_days=days,
        stale=days is not None and recipe.automate.max_age_days is not None and days > recipe.automate.max_age_days,
        metric=card.metric if card else "",
        quality=best.metric(card.metric) if card and best else None,
        usd_per_month=best.usd_per_month if best else None,
        gate="never run" if judged is None else "passed" if judged[1].promoted else "refused",
        headline=judged[1].headline if judged else "",
        waits=_missing(judged, standing, signed) if judged else (),
        drift=_drift(recipe.name, standing, settings),
    )


def _drift(name: str, standing: Standing, settings: Settings) -> Drift | None:
    path = settings.home / "drift" / f"{name}.json"
    if not path.exists():
        return None
    found = Drift.model_validate_json(path.read_bytes())
    return found if found.version == standing.champion else None


def _since(standing: Standing) -> datetime | None:
    logged = standing.decided.get(standing.champion) if standing.champion else None
    return logged.entry.time if logged else None


def _champions_card(standing: Standing, store: Store) -> Scorecard | None:
    claims = standing.claims.get(standing.champion) if standing.champion else None
    found = store.find(Scorecard, claims.scorecard.key) if claims else None
    return found.record if found else None


def _last_decision(name: str, store: Store, settings: Settings) -> tuple[dict[str, str], Decision] | None:
    """The last run's references and its decision."""
    keys = {}
    for asset in ("decision", "quantized_model", "report"):
        path: Path = settings.home / "references" / f"{name}.{asset}.json"
        if not path.exists():
            return None
        keys[asset] = json.loads(path.read_text(encoding="utf-8"))
    found = store.find(Decision, keys["decision"]["key"])
    made = _bytes(keys["quantized_model"]["digest"], keys["report"]["digest"])
    return ({"decision": keys["decision"]["key"], "bytes": made}, found.record) if found else None


def _missing(
    judged: tuple[dict[str, str], Decision], standing: Standing, signed: dict[str, set[str]]
) -> tuple[str, ...]:
    """Roles that the last passed decision still waits for; the desk asks more strictly when it is promoted."""
    refs, decision = judged
    champion = standing.claims.get(standing.champion) if standing.champion else None
    if decision.policy.approval is None or not decision.promoted:
        return ()
    if champion is not None and champion.decision.key == refs["decision"]:
        return ()
    return tuple(role for role in decision.policy.approval.roles if role not in signed.get(refs["bytes"], set()))


def _signed(log: Iterable[Logged], now: datetime) -> dict[str, set[str]]:
    """Roles signed, by artifact and report; a later refusal takes a signature back."""
    found: dict[str, set[str]] = {}
    by_release: dict[str, set[str]] = {}
    for logged in log:
        what = logged.entry.what
        if isinstance(what, Approved) and what.expires > now:
            found.setdefault(_bytes(what.artifact, what.report), set()).add(what.role)
            by_release[what.release] = found[_bytes(what.artifact, what.report)]
        elif isinstance(what, Declined):
            by_release.get(what.release, set()).discard(what.role)
    return found


def _bytes(artifact: str, report: str) -> str:
    return f"{artifact} {report}"


def _faulty(name: str, error: InvalidRecipe) -> Specialist:
    return Specialist(name, gate="faulty recipe", headline=f"{len(error.faults)} faults: supply-chain validate {name}")
