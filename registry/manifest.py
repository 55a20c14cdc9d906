"""Publishes the routing manifest: numbered generations, each naming the digest of the one before.

A generation is written first, then `routing-manifest.json` as a copy of it. A process killed in
between leaves a whole generation that the next call makes current. Unchanged content is not
published again.
"""

import json
from collections import defaultdict
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path

from jsonschema import Draft202012Validator

from registry.evidence import Evidence
from registry.fleet import Fleet
from registry.release import verified
from registry.routing import (
    SCHEMA,
    ArtifactAt,
    Base,
    LatencyMs,
    MlflowVersion,
    Model,
    ModelRoute,
    RoutingManifest,
    ServedPrompt,
)
from registry.versions import Quality, Release
from supply_chain.errors import CorruptData, EvidenceMismatch, InvalidInput
from supply_chain.identity import canonical_json
from supply_chain.recipe.schema import Route
from supply_chain.serving import read_serving
from supply_chain.settings import Settings
from supply_chain.store import Store, write_atomically

CURRENT = "routing-manifest.json"


@dataclass(frozen=True)
class PublishedManifest:
    """One generation, its file and the file's digest. `new` tells whether this call made it."""

    manifest: RoutingManifest
    path: Path
    sha256: str
    new: bool = False


def publish(champions: list[Release], fleet: Fleet, settings: Settings, store: Store) -> PublishedManifest:
    """The manifest of these champions, as a new generation if anything changed.

    Raises EvidenceMismatch that names every champion that cannot be verified, InvalidInput when
    two champions answer the same task or a fallback leads nowhere, and CorruptData when a past
    generation is not what was published.
    """
    with store.locked("routing-manifest"):
        past = history(settings)
        folder = _folder(settings)
        _check_current(folder / CURRENT, past)
        models, routes = _entries(champions, fleet, store)
        manifest = RoutingManifest(
            generation=len(past) + 1,
            previous=past[-1].sha256 if past else None,
            fleet=fleet.name,
            models=models,
            routes=routes,
            fallback=fleet.fallback,
        )
        if past and _content(past[-1].manifest) == _content(manifest):
            published = past[-1]
        else:
            path = folder / f"{manifest.generation:06d}.json"
            write_atomically(path, _text(manifest))
            published = PublishedManifest(manifest, path, _sha256(path.read_bytes()), new=True)
        if not (folder / CURRENT).exists() or _sha256((folder / CURRENT).read_bytes()) != published.sha256:
            write_atomically(folder / CURRENT, _text(published.manifest))
        return published


def load_manifest(path: Path) -> RoutingManifest:
    """A manifest file. Raises InvalidInput with every fault against `manifest.schema.json`."""
    try:
        data = json.loads(path.read_bytes())
    except (OSError, ValueError) as error:
        raise InvalidInput(f"{path} is not a whole manifest: {error}") from None
    faults = list(Draft202012Validator(json.loads(SCHEMA.read_text(encoding="utf-8"))).iter_errors(data))
    if faults:
        shown = "\n".join(f"  {'.'.join(map(str, f.absolute_path)) or 'manifest'}: {f.message[:200]}" for f in faults)
        raise InvalidInput(f"{path}: {len(faults)} faults against {SCHEMA.name}\n{shown}")
    return RoutingManifest.model_validate(data)


def history(settings: Settings) -> list[PublishedManifest]:
    """Every generation, oldest first. Raises CorruptData when one is missing, cut short or edited."""
    found: list[PublishedManifest] = []
    for path in sorted(_folder(settings).glob("[0-9]*.json")):
        number = len(found) + 1
        if path.name != f"{number:06d}.json":
            raise CorruptData(f"generation {number:06d}.json is missing before {path}: restore it from a backup")
        try:
            manifest = load_manifest(path)
        except InvalidInput as error:
            raise CorruptData(f"generation {number} was damaged or edited: {error}. {_cure(path)}") from None
        expected = found[-1].sha256 if found else None
        if manifest.previous != expected or manifest.generation != number:
            raise CorruptData(
                f"{path} names {_short(manifest.previous)} as the generation before it, found {_short(expected)}: "
                f"one of the two files was edited. {_cure(path)}"
            )
        data = path.read_bytes()
        if data != _text(manifest).encode():
            raise CorruptData(f"{path} was edited: it is not in the form that publish writes. {_cure(path)}")
        found.append(PublishedManifest(manifest, path, _sha256(data)))
    return found


def _check_current(current: Path, past: list[PublishedManifest]) -> None:
    """`routing-manifest.json` is the last generation, or the one before if a process was killed amid publishing."""
    if not current.exists():
        return
    found = _sha256(current.read_bytes())
    if found not in {published.sha256 for published in past[-2:]}:
        last = past[-1].path.name if past else "no generation at all"
        raise CorruptData(
            f"{current} and the last generation ({last}) differ: one of them was edited. See which one is right; "
            f"restore the generation from a backup, or remove {CURRENT} to have it written anew."
        )


def _entries(champions: list[Release], fleet: Fleet, store: Store) -> tuple[list[Model], list[ModelRoute]]:
    models, routes, faults = [], [], []
    for release in sorted(champions, key=lambda r: r.name):
        try:
            evidence, route = verified(release, store), release.claims().route
        except (EvidenceMismatch, CorruptData) as error:
            faults.append(str(error))
            continue
        models.append(_model(release, evidence, store))
        routes.append(_route(release.name, route, fleet))
    if faults:
        shown = "\n".join(f"  {fault}" for fault in faults)
        raise EvidenceMismatch(f"the manifest was not published: {len(faults)} champions cannot be verified\n{shown}")
    _check_routes(routes, fleet)
    return models, routes


def _model(release: Release, evidence: Evidence, store: Store) -> Model:
    artifact, record, card = evidence.artifact, evidence.artifact.record, evidence.scorecard.record
    candidate = evidence.candidate
    serving = read_serving(artifact.path)
    uri = f"{store.remote}/artifact/{artifact.key}" if store.remote else artifact.path.resolve().as_uri()
    return Model(
        name=release.name,
        mlflow=MlflowVersion(name=release.name, version=release.version),
        artifact=ArtifactAt(uri=uri, sha256=artifact.digest, format=record.format, size_bytes=artifact.size_bytes),
        chat_template_sha256=record.chat_template_sha256,
        tokenizer_sha256=record.tokenizer_sha256,
        prompt=ServedPrompt(block=serving.prompt, sha256=record.prompt_sha256),
        labels=record.labels,
        base=Base(name=record.base_name, digest=record.base_digest),
        license=record.license,
        quality=Quality(metric=card.metric, **candidate.metric(card.metric).model_dump()),
        latency_ms=LatencyMs(p50=candidate.p50_ms, p95=candidate.p95_ms),
        size_bytes=candidate.size_bytes,
    )


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


def _content(manifest: RoutingManifest) -> str:
    return canonical_json(manifest.model_dump(mode="json", exclude={"generation", "previous"}))


def _text(manifest: RoutingManifest) -> str:
    return canonical_json(manifest) + "\n"


def _folder(settings: Settings) -> Path:
    return settings.home / "manifests"


def _sha256(data: bytes) -> str:
    return sha256(data).hexdigest()


def _short(digest: str | None) -> str:
    return digest[:12] if digest else "none"


def _cure(path: Path) -> str:
    return f"Restore it from a backup, or move {path.parent} away to start again at generation 1."
