"""Finds the LoRA adapter behind a released artifact, for servers that share one base model."""

from functools import lru_cache
from pathlib import Path

from supply_chain.records import Artifact, Trained
from supply_chain.store import Store, Stored


def adapter_of(made_from: str, store: Store) -> Stored[Trained] | None:
    """The adapter of a released artifact, over the merged weights that it was quantized from.

    `made_from`: digest of what the artifact was made from. None where whole weights were trained, where labels
    are told by a head of their own, and where the adapter is not in this store.
    """
    merged = _by_digest(Artifact, store).get(made_from)
    artifact = store.find(Artifact, merged) if merged else None
    key = _by_digest(Trained, store).get(artifact.record.made_from if artifact else made_from)
    found = store.find(Trained, key) if key else None
    return found if found and found.record.form == "adapter" and found.record.head is None else None


def _by_digest(kind: type[Artifact] | type[Trained], store: Store) -> dict[str, str]:
    folder = store.root / kind.kind
    return _index(kind, store.root, folder.stat().st_mtime_ns if folder.exists() else 0)


@lru_cache(maxsize=8)
def _index(kind: type[Artifact] | type[Trained], root: Path, changed_ns: int) -> dict[str, str]:
    return {stored.digest: stored.key for stored in Store(root).all(kind)}
