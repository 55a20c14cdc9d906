"""The terms that travel with weights: what they may be used for, how sensitive they are, where they may be.

Everything that a model was made from counts: the narrowest use, the highest sensitivity, the one
zone. A text that reaches a route is as sensitive as the data behind it and must stay in its zone,
whoever answers in the end.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import get_args

from registry.fleet import Fleet, Policy, Use
from supply_chain.recipe.data import Sensitivity
from supply_chain.recipe.route import Cause, Route
from supply_chain.records import Origin

ANY, NOBODY = "any", "none"
LEVELS: tuple[Sensitivity, ...] = get_args(Sensitivity)
CAUSES: tuple[Cause, ...] = get_args(Cause)
_COMMERCIAL = (
    "0bsd", "apache-2.0", "bsd-2-clause", "bsd-3-clause", "cc-by-3.0", "cc-by-4.0", "cc-by-sa-3.0", "cc-by-sa-4.0",
    "cc0-1.0", "cdla-permissive-2.0", "gemma", "isc", "llama-3.1-community", "llama-3.2-community", "mit",
    "mit-0", "mpl-2.0", "odbl-1.0", "odc-by-1.0", "pddl-1.0", "proprietary", "unlicense",
)  # fmt: skip
_RESEARCH = ("cc-by-nc-", "polyform-noncommercial-", "research-only")


@dataclass(frozen=True)
class Terms:
    """What holds for one model."""

    use: Use
    sensitivity: Sensitivity
    zone: str


@dataclass(frozen=True)
class Stop:
    """One who may answer: a specialist or the fleet's fallback."""

    name: str
    zone: str
    accepts: Sensitivity


def use_of(license: str, policy: Policy) -> Use | None:
    """What a licence permits, or None if neither the policy nor the list here knows it."""
    named = {name.lower(): use for name, use in policy.licenses.items()}
    name = license.strip().lower()
    if name in named:
        return named[name]
    if name.startswith(_RESEARCH):
        return "research"
    return "commercial" if name in _COMMERCIAL else None


def terms_of(origins: list[Origin], policy: Policy) -> Terms:
    """Everything together: the narrowest use, the highest sensitivity, the zone."""
    narrow = any(use_of(o.license, policy) != "commercial" for o in origins)
    zones = sorted({o.zone for o in origins} - {ANY})
    level = max((LEVELS.index(o.sensitivity) for o in origins), default=0)
    return Terms(use="research" if narrow else "commercial", sensitivity=LEVELS[level], zone="+".join(zones) or ANY)


def term_faults(model: str, task: str, origins: list[Origin], policy: Policy) -> Iterator[str]:
    """Why a model may not ship for the fleet's use; each fault shows the way from its origin to the route."""
    if not origins:
        yield f"{model}: it does not say what it was made from: run its recipe again"
    for origin in origins:
        way = f"{origin.role} {origin.name} ({origin.license}) -> model {model} -> route {task}"
        use = use_of(origin.license, policy)
        if use is None:
            yield (
                f"{way}: what {origin.license!r} permits is not known; a person who read it says so in fleet.yaml: "
                f"policy.licenses: {{{origin.license}: commercial}}"
            )
        elif use == "research" and policy.use == "commercial":
            yield f"{way}: {origin.license} permits research only, the fleet's use is commercial"
    zones = {o.zone for o in origins} - {ANY}
    if len(zones) > 1:
        way = ", ".join(f"{o.role} {o.name} ({o.zone})" for o in origins if o.zone != ANY)
        yield f"{way} -> model {model}: one model cannot stay in {len(zones)} zones"


def fallbacks_of(route: Route, fleet: Fleet) -> dict[Cause, str]:
    """Who answers instead, for every cause."""
    default = route.fallback or fleet.fallback.name
    return {cause: route.fallbacks.get(cause, default) for cause in CAUSES}


def flow_faults(routes: dict[str, tuple[Terms, dict[Cause, str]]], fleet: Fleet) -> Iterator[str]:
    """Where a text could end up where it must not be, through any number of fallbacks; and circles.

    `routes`: terms and fallbacks by model.
    """
    stops = {name: Stop(name, terms.zone, LEVELS[-1]) for name, (terms, _) in routes.items()}
    last = fleet.fallback
    stops[last.name] = Stop(last.name, last.zone, last.accepts)
    for name, (terms, _) in routes.items():
        seen: set[str] = set()
        faults: dict[str, str] = {}
        for path in _paths(name, routes, seen):
            if path[-1] in path[:-1]:
                faults.setdefault(path[-1], f"fallbacks run in a circle: {' -> '.join(path)}")
                continue
            stop = stops.get(path[-1])
            if stop is None:
                if len(path) == 2:
                    what = f"neither a champion nor {last.name} nor {NOBODY}"
                    faults.setdefault(path[-1], f"{name} falls back to {path[-1]!r}, which is {what}")
                continue
            if LEVELS.index(terms.sensitivity) > LEVELS.index(stop.accepts):
                why = f"{terms.sensitivity} text would reach {stop.name}, which may see {stop.accepts} text at most"
            elif terms.zone not in (ANY, stop.zone):
                why = f"text would leave zone {terms.zone} for {stop.name} (zone {stop.zone})"
            else:
                continue
            faults.setdefault(stop.name, f"{' -> '.join(path)}: {why}")
        yield from faults.values()


def _paths(start: str, routes: dict[str, tuple[Terms, dict[Cause, str]]], seen: set[str]) -> Iterator[tuple[str, ...]]:
    """A way to everyone whom a text of `start` can reach; a way back to itself ends it."""
    waiting: list[tuple[str, ...]] = [(start,)]
    while waiting:
        path = waiting.pop(0)
        after = routes[path[-1]][1].values() if path[-1] in routes else ()
        for name in sorted(set(after) - {NOBODY}):
            if name in path:
                yield (*path, name)
            elif name not in seen:
                seen.add(name)
                yield (*path, name)
                waiting.append((*path, name))
