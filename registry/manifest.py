"""Publishes the routing manifest: one generation that holds every champion, or none at all.

Unchanged content is not published again.
"""

import json
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import asdict
from hashlib import sha256
from typing import Any

from registry.decisions import RELEASES, Act, Log, Published, whoami
from registry.fleet import Fleet
from registry.generations import CURRENT, Link, PublishedManifest, check, folder, links, load_manifest
from registry.routing import (
    SCHEMA_VERSION,
    Candidate,
    Decisions,
    FleetContent,
    Model,
    ModelRoute,
    RouterAt,
    RoutingManifest,
)
from registry.signing import Key
from registry.terms import Terms, fallbacks_of, flow_faults, term_faults, terms_of
from registry.verification import Live, model_of, uri_of
from registry.versions import Release
from supply_chain.errors import CorruptData, EvidenceMismatch, InvalidInput
from supply_chain.recipe.route import Route
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
        act = act or Act(whoami(), "published as given")
        return put_in_force(content, Key.of(fleet.signing, settings), settings, act)


def entry_of(live: Live, fleet: Fleet, settings: Settings, store: Store) -> tuple[Model, ModelRoute]:
    """What a version would stand for in the manifest. Raises EvidenceMismatch or CorruptData that name it."""
    model = model_of(live, store, settings)
    terms = terms_of(model.origins, fleet.policy)
    return model.model_copy(update=asdict(terms)), _route(model, live.claims.route, terms, fleet)


def compose(champions: Sequence[Live | Release], fleet: Fleet, settings: Settings, store: Store) -> FleetContent:
    """What the next generation would say; nothing is written. Raises as `publish` does."""
    models, routes, faults = [], [], []
    for champion in sorted(champions, key=lambda champion: champion.name):
        try:
            live = Live.of(champion) if isinstance(champion, Release) else champion
            model, route = entry_of(live, fleet, settings, store)
            models.append(model)
            routes.append(route)
        except (EvidenceMismatch, CorruptData) as error:
            faults.append(str(error))
    if faults:
        shown = "\n".join(f"  {fault}" for fault in faults)
        raise EvidenceMismatch(f"the manifest was not published: {len(faults)} champions cannot be verified\n{shown}")
    _check_routes(models, routes, fleet)
    return FleetContent(
        fleet=fleet.name,
        models=models,
        routes=routes,
        fallback=fleet.fallback,
        policy=fleet.policy,
        router=_router(models, fleet, store),
    )


def put_in_force(content: FleetContent, key: Key, settings: Settings, act: Act) -> PublishedManifest:
    """Writes, logs and copies a generation. Called again after a kill, it goes on where it stopped."""
    log, past = Log(settings.home), links(settings)
    entries, members = log.entries(), content.model_dump(mode="json")
    check(settings, past, entries)
    if past and _same(members, past[-1]):
        published = PublishedManifest(load_manifest(past[-1].path), past[-1].path, past[-1].sha256)
    else:
        published = _write(
            content,
            members,
            past,
            Decisions(entries=len(entries), head=entries[-1].sha256 if entries else None),
            key,
            settings,
        )
    if not any(isinstance(e.entry.what, Published) and e.entry.what.sha256 == published.sha256 for e in entries):
        log.append(Published(generation=published.manifest.generation, sha256=published.sha256), act)
    current, data = folder(settings) / CURRENT, published.path.read_bytes()
    if not current.exists() or current.read_bytes() != data:
        write_atomically(current, data.decode())
    return published


def _same(members: dict[str, Any], last: Link) -> bool:
    before = json.loads(last.path.read_bytes())
    return all(before.get(name) == value for name, value in members.items())


def _write(
    content: FleetContent,
    members: dict[str, Any],
    past: list[Link],
    decisions: Decisions,
    key: Key,
    settings: Settings,
) -> PublishedManifest:
    number, previous = len(past) + 1, past[-1].sha256 if past else None
    more: dict[str, Any] = {"schema_version": SCHEMA_VERSION, "generation": number, "previous": previous}
    data, signature = key.sign(members | more | {"decisions": decisions.model_dump(mode="json")})
    path = folder(settings) / f"{number:06d}.json"
    write_atomically(path, data)
    parts: dict[str, Any] = {name: getattr(content, name) for name in FleetContent.model_fields}
    manifest = RoutingManifest.model_construct(**parts, **more, decisions=decisions, signature=signature)
    return PublishedManifest(manifest, path, sha256(data.encode()).hexdigest(), new=True)


def _router(models: list[Model], fleet: Fleet, store: Store) -> RouterAt | None:
    if fleet.router is None:
        return None
    from registry.router.stored import router_of  # noqa: PLC0415 (scipy: a second)

    stored = router_of(models, fleet.router, store)
    if stored is None:
        return None
    record, uri = stored.record, uri_of("router", stored.key, store)
    return RouterAt(uri=uri, sha256=stored.digest, accuracy=record.accuracy, false_rejection=record.false_rejection)


def _route(model: Model, route: Route, terms: Terms, fleet: Fleet) -> ModelRoute:
    promised = model.promise.threshold if model.promise else None
    return ModelRoute(
        task=route.task,
        keywords=route.keywords,
        utterances=route.utterances,
        candidates=[Candidate(model=model.name, weight=1.0)],
        sensitivity=terms.sensitivity,
        zone=terms.zone,
        min_confidence=promised if route.min_confidence is None else route.min_confidence,
        max_hops=route.max_hops,
        fallbacks=fallbacks_of(route, fleet),
    )


def _check_routes(models: list[Model], routes: list[ModelRoute], fleet: Fleet) -> None:
    claimed: dict[str, list[str]] = defaultdict(list)
    for route in routes:
        claimed[route.task].append(route.candidates[0].model)
    faults = [f"task {t!r} is claimed by {' and '.join(m)}" for t, m in claimed.items() if len(m) > 1]
    last = fleet.fallback.name
    faults += [f"task {t!r} bears the name of the fleet's fallback" for t in claimed if t == last]
    faults += [f"recipe {m.name!r} bears the name of the fleet's fallback" for m in models if m.name == last]
    flows = {}
    for model, route in zip(models, routes, strict=True):
        faults += term_faults(model.name, route.task, model.origins, fleet.policy)
        flows[model.name] = (Terms(model.use, model.sensitivity, model.zone), route.fallbacks)
    faults += flow_faults(flows, fleet)
    if faults:
        raise InvalidInput("the manifest was not published; mend recipes or fleet.yaml:\n  " + "\n  ".join(faults))
