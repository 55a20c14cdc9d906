"""Verifies what is live: every byte once, and again when a file was touched. See `seen.py`."""

import json
from dataclasses import dataclass
from typing import Any

from pydantic import ValidationError

from registry.adapters import adapter_of
from registry.decoding import decoding_of
from registry.evidence import Claims, Evidence, reread
from registry.routing import (
    AdapterAt,
    ArtifactAt,
    Base,
    DocumentsAt,
    LatencyMs,
    MlflowVersion,
    Model,
    ServedPrompt,
)
from registry.seen import Look, stamp
from registry.terms import ANY
from registry.versions import Quality, Release
from supply_chain.errors import CorruptData, EvidenceMismatch
from supply_chain.identity import canonical_json, identity
from supply_chain.serving import read_serving
from supply_chain.settings import Settings
from supply_chain.store import ENTRY, Store, write_atomically

VERSION = 2


@dataclass(frozen=True)
class Live:
    """A version that is, or is about to be, champion, or its canary."""

    name: str
    version: int
    claims: Claims
    share: float | None = None
    """A canary's share of the champion's requests; None for a champion."""

    @property
    def served_as(self) -> str:
        """Its name in the manifest: a canary's has its version behind it."""
        return self.name if self.share is None else f"{self.name}_v{self.version}"

    @classmethod
    def of(cls, release: Release) -> "Live":
        """What MLflow's tags say. Raises EvidenceMismatch."""
        return cls(release.name, release.version, release.claims())


def verified(live: Live, store: Store) -> Evidence:
    """The evidence of a version that may be promoted or published; every byte is read.

    Raises EvidenceMismatch or CorruptData that name the version.
    """
    try:
        evidence = reread(live.claims, store)
    except (EvidenceMismatch, CorruptData) as error:
        raise type(error)(f"{live.name} version {live.version}: {error}") from error
    if not evidence.decision.record.promoted:
        raise EvidenceMismatch(
            f"{live.name} version {live.version} was refused and cannot be champion. "
            f"{evidence.decision.record.headline}"
        )
    return evidence


def model_of(live: Live, store: Store, settings: Settings, trust: bool = True) -> Model:
    """The manifest's entry about a verified version. Raises what `verified` raises.

    With `trust`, a version whose files were not touched since they were verified is not read again.
    """
    key = identity("verified", VERSION, name=live.name, number=live.version, release=live.claims.key)
    path = settings.home / "verified" / f"{key}.json"
    known = path.read_bytes() if trust and path.exists() else b""
    model = _kept(known) if known else None
    if model is None:
        look = Look(_files(live, store))
        model = _model(live, verified(live, store), store)
        if look.settled:
            stamps = dict(zip(look.paths, look.stamps, strict=True))
            write_atomically(path, canonical_json({"files": stamps, "model": model}))
    at = uri_of("artifact", live.claims.artifact.key, store)
    placed: dict[str, Any] = {"artifact": model.artifact.model_copy(update={"uri": at})}
    if model.adapter is not None:
        kind, key = model.adapter.uri.split("/")[-2:]
        at = uri_of(kind, key, store)
        placed["adapter"] = model.adapter.model_copy(update={"uri": at})
    if live.claims.documents is not None:
        claim = live.claims.documents
        placed["documents"] = DocumentsAt(uri=uri_of("documents", claim.key, store), sha256=claim.digest)
    return model.model_copy(update=placed)


def _kept(data: bytes) -> Model | None:
    try:
        kept = json.loads(data)
        same = all(stamp(path) == found for path, found in kept["files"].items())
        return Model.model_validate(kept["model"]) if same and kept["files"] else None
    except (OSError, ValueError, KeyError, TypeError, AttributeError, ValidationError):
        return None  # a file is gone or the cache is of another release of this code: verify in full


def _files(live: Live, store: Store) -> list[str]:
    """Every file of all objects; none where one is not here yet, and then nothing is kept."""
    folders = [store.root / kind / claim.key for kind, claim in live.claims.parts.items()]
    if not all((folder / ENTRY).exists() for folder in folders):
        return []
    return [str(path) for folder in folders for path in sorted(folder.rglob("*")) if path.is_file()]


def uri_of(kind: str, key: str, store: Store) -> str:
    """Where readers find a stored object's folder."""
    return f"{store.remote}/{kind}/{key}" if store.remote else (store.root.resolve() / kind / key).as_uri()


def _model(live: Live, evidence: Evidence, store: Store) -> Model:
    artifact, record, card = evidence.artifact, evidence.artifact.record, evidence.scorecard.record
    candidate, serving = evidence.candidate, read_serving(artifact.path)
    return Model(
        name=live.name,
        mlflow=MlflowVersion(name=live.name, version=live.version),
        artifact=ArtifactAt(uri="", sha256=artifact.digest, format=record.format, size_bytes=artifact.size_bytes),
        adapter=_adapter(record.made_from, store),
        decoding=decoding_of(serving),
        promise=serving.escalation and serving.escalation.model_copy(update={"cheapest": None}),  # prices stay here
        chat_template_sha256=record.chat_template_sha256,
        tokenizer_sha256=record.tokenizer_sha256,
        prompt=ServedPrompt(block=serving.prompt, sha256=record.prompt_sha256),
        labels=record.labels,
        base=Base(name=record.base_name, digest=record.base_digest),
        license=record.license,
        splits_sha256=card.splits_digest,
        made_from=record.made_from,
        origins=record.origins,
        use="research",
        sensitivity="restricted",
        zone=ANY,
        context_tokens=record.context_tokens,
        quality=Quality(metric=card.metric, **candidate.metric(card.metric).model_dump()),
        latency_ms=LatencyMs(p50=candidate.p50_ms, p95=candidate.p95_ms),
        usd_per_1k=candidate.usd_per_1k,
        size_bytes=candidate.size_bytes,
    )


def _adapter(made_from: str, store: Store) -> AdapterAt | None:
    found = adapter_of(made_from, store)
    if found is None:
        return None
    at = uri_of(found.stored.record.kind, found.stored.key, store)
    return AdapterAt(uri=at, sha256=found.stored.digest, rank=found.rank)
