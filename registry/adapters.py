"""Finds the LoRA adapter behind a released artifact, for servers that share one base model."""

import json
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

from supply_chain.formats.adapter import CONFIG
from supply_chain.records import Artifact, Trained
from supply_chain.store import Store, Stored


@dataclass(frozen=True)
class Adapter:
    """A stored adapter in peft's format, and its rank."""

    stored: Stored[Trained] | Stored[Artifact]
    rank: int


def adapter_of(made_from: str, store: Store) -> Adapter | None:
    """The adapter of a released artifact, over the merged weights that it was quantized from: the adapter's own
    artifact where the recipe asks for one, else what training stored.

    `made_from`: digest of what the artifact was made from. None where whole weights were trained, where labels
    are told by a head of their own, where other weights than the base's lie below, for DoRA, which such servers
    refuse, for scales by layer, which they ignore, and where the adapter is not in this store. Raises CorruptData
    for damaged bytes.
    """
    merged = _by_digest(Artifact, store).get(made_from)
    artifact = store.find(Artifact, merged) if merged else None
    digest = artifact.record.made_from if artifact else made_from
    key = _by_digest(Trained, store).get(digest)
    found = store.find(Trained, key) if key else None
    if found is None or found.record.form != "adapter" or found.record.head is not None or found.record.teacher:
        return None
    config = json.loads((found.verify().path / CONFIG).read_text(encoding="utf-8"))
    if config.get("use_dora") or config.get("alpha_pattern"):
        return None
    rank = max(config["r"], *(config.get("rank_pattern") or {}).values(), 1)
    own = _alone(store).get(digest)
    return Adapter((own and store.find(Artifact, own)) or found, rank)


def _by_digest(kind: type[Artifact] | type[Trained], store: Store) -> dict[str, str]:
    return _index(kind, store.root, _changed_ns(kind, store))


def _alone(store: Store) -> dict[str, str]:
    return _adapters(store.root, _changed_ns(Artifact, store))


def _changed_ns(kind: type[Artifact] | type[Trained], store: Store) -> int:
    folder = store.root / kind.kind
    return folder.stat().st_mtime_ns if folder.exists() else 0


@lru_cache(maxsize=8)
def _index(kind: type[Artifact] | type[Trained], root: Path, changed_ns: int) -> dict[str, str]:
    return {stored.digest: stored.key for stored in Store(root).all(kind)}


@lru_cache(maxsize=8)
def _adapters(root: Path, changed_ns: int) -> dict[str, str]:
    """Keys of adapters that stand alone, by the digest of what training stored."""
    return {s.record.made_from: s.key for s in Store(root).all(Artifact) if s.record.rank is not None}
