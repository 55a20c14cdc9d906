"""Publishes the routing manifest: one generation that holds every champion, or none at all.

Unchanged content is not published again.
"""

from collections import defaultdict
from collections.abc import Sequence
from hashlib import sha256

from registry.decisions import RELEASES, Act, Log, Logged, Published
from registry.fleet import Fleet
from registry.generations import CURRENT, Link, PublishedManifest, check, folder, links, load_manifest, text
from registry.routing import Decisions, FleetContent, ModelRoute, RoutingManifest
from registry.verification import Live, model_of
from registry.versions import Release
from supply_chain.errors import CorruptData, EvidenceMismatch, InvalidInput
from supply_chain.identity import canonical_json
from supply_chain.recipe.schema import Route
from supply_chain.settings import Settings
from supply_chain.store import Store, write_atomically


def publish(
    champions: list[Release], fleet: Fleet, settings: Settings, store: Store, act: Act | None = None
) -> PublishedManifest:
    """The manifest of these champions, as a new generation if anything changed.

    Raises EvidenceMismatch that names every champion that cannot be verified, InvalidInput when
    two champions answer the same task or a fallback leads nowhere, and CorruptData when a past
    generation is not what was published.
    """
    with store.locked(RELEASES):
        content = compose(champions, fleet, settings, store)
        return put_in_force(content, settings, act or Act("unnamed", "published without a promotion"))


def compose(champions: Sequence[Live | Release], fleet: Fleet, settings: Settings, store: Store) -> FleetContent:
    """What the next generation would say; nothing is written. Raises as `publish` does."""
    models, routes, faults = [], [], []
    for champion in sorted(champions, key=lambda champion: champion.name):
        try:
            live = Live.of(champion) if isinstance(champion, Release) else champion
            models.append(model_of(live, store, settings))
            routes.append(_route(live.name, live.claims.route, fleet))
        except (EvidenceMismatch, CorruptData) as error:
            faults.append(str(error))
    if faults:
        shown = "\n".join(f"  {fault}" for fault in faults)
        raise EvidenceMismatch(f"the manifest was not published: {len(faults)} champions cannot be verified\n{shown}")
    _check_routes(routes, fleet)
    return FleetContent(fleet=fleet.name, models=models, routes=routes, fallback=fleet.fallback)


def put_in_force(content: FleetContent, settings: Settings, act: Act) -> PublishedManifest:
    """Writes, logs and copies a generation. Called again after a kill, it goes on where it stopped."""
    log, past = Log(settings.home), links(settings)
    entries = log.entries()
    check(settings, past, entries)
    published = _unchanged(content, past) or _write(content, past, entries, settings)
    if not any(isinstance(e.entry.what, Published) and e.entry.what.sha256 == published.sha256 for e in entries):
        log.append(Published(generation=published.manifest.generation, sha256=published.sha256), act)
    current, data = folder(settings) / CURRENT, published.path.read_bytes()
    if not current.exists() or current.read_bytes() != data:
        write_atomically(current, data.decode())
    return published


def _unchanged(content: FleetContent, past: list[Link]) -> PublishedManifest | None:
    if not past:
        return None
    last = load_manifest(past[-1].path)
    same = _text(FleetContent(**{name: getattr(last, name) for name in FleetContent.model_fields})) == _text(content)
    return PublishedManifest(last, past[-1].path, past[-1].sha256) if same else None


def _write(content: FleetContent, past: list[Link], entries: list[Logged], settings: Settings) -> PublishedManifest:
    manifest = RoutingManifest(
        **{name: getattr(content, name) for name in FleetContent.model_fields},
        generation=len(past) + 1,
        previous=past[-1].sha256 if past else None,
        decisions=Decisions(entries=len(entries), head=entries[-1].sha256 if entries else None),
    )
    path, data = folder(settings) / f"{manifest.generation:06d}.json", text(manifest)
    write_atomically(path, data)
    return PublishedManifest(manifest, path, sha256(data.encode()).hexdigest(), new=True)


def _route(name: str, route: Route, fleet: Fleet) -> ModelRoute:
    fallback = route.fallback or fleet.fallback.name
    return ModelRoute(task=route.task, keywords=route.keywords, model=name, fallback=fallback)


def _check_routes(routes: list[ModelRoute], fleet: Fleet) -> None:
    claimed: dict[str, list[str]] = defaultdict(list)
    for route in routes:
        claimed[route.task].append(route.model)
    faults = [f"task {t!r} is claimed by {' and '.join(m)}" for t, m in claimed.items() if len(m) > 1]
    after = {route.model: route.fallback for route in routes}
    for name, first in after.items():
        seen, at = [name], first
        while at in after and at not in seen:
            seen, at = [*seen, at], after[at]
        if at in seen:
            faults.append(f"fallbacks run in a circle: {' -> '.join([*seen, at])}")
        elif at != fleet.fallback.name:
            faults.append(f"{seen[-1]} falls back to {at!r}, which is neither a champion nor {fleet.fallback.name}")
    if faults:
        raise InvalidInput("the manifest was not published; mend `route` in the recipes:\n  " + "\n  ".join(faults))


def _text(content: FleetContent) -> str:
    return canonical_json(content)
