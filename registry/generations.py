"""The generations of the routing manifest on disk: numbered files, each naming the digest of the one before.

`routing-manifest.json` is a copy of the one in force. A generation is written first, then logged,
then copied; a process killed in between leaves a whole generation that the next call puts in force.
"""

import json
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from pydantic import ValidationError

from registry.decisions import Logged, Published
from registry.routing import SCHEMA, RoutingManifest
from registry.seen import Look, Seen
from registry.signing import trusted as trusted_keys
from registry.signing import verify
from supply_chain.errors import CorruptData, InvalidInput
from supply_chain.settings import Settings

CURRENT = "routing-manifest.json"


@dataclass(frozen=True)
class PublishedManifest:
    """One generation, its file and the file's digest. `new` tells whether this call made it."""

    manifest: RoutingManifest
    path: Path
    sha256: str
    new: bool = False


@dataclass(frozen=True)
class Link:
    """One generation's file, its SHA-256 and that of the file before."""

    path: Path
    sha256: str
    previous: str | None


def folder(settings: Settings) -> Path:
    """Where generations are kept."""
    return settings.home / "manifests"


def load_manifest(path: Path) -> RoutingManifest:
    """A manifest file. Raises InvalidInput with every fault against `manifest.schema.json`."""
    try:
        data = json.loads(path.read_bytes())
    except (OSError, ValueError) as error:
        raise InvalidInput(f"{path} is not a whole manifest: {error}") from None
    try:
        return RoutingManifest.model_validate(data)
    except ValidationError:
        from jsonschema import Draft202012Validator  # noqa: PLC0415 (only for a file that is none)

        faults = list(Draft202012Validator(json.loads(SCHEMA.read_text(encoding="utf-8"))).iter_errors(data))
        shown = "\n".join(f"  {'.'.join(map(str, f.absolute_path)) or 'manifest'}: {f.message[:200]}" for f in faults)
        raise InvalidInput(f"{path}: {len(faults)} faults against {SCHEMA.name}\n{shown}") from None


def history(settings: Settings) -> list[PublishedManifest]:
    """Every generation, oldest first, read in full. Raises CorruptData when one is missing, cut short or edited."""
    found = links(settings, trust=False)
    return [PublishedManifest(load_manifest(link.path), link.path, link.sha256) for link in found]


def links(settings: Settings, trust: bool = True) -> list[Link]:
    """The chain of generations. Without `trust`, every file is read again and its signature verified; with it,
    only files that were touched are read.

    Raises CorruptData when a generation is missing, cut short, edited or follows another one.
    """
    found: list[Link] = []
    keys = None if trust else trusted_keys(settings)
    seen = Seen(settings.home / "verified" / "manifests.json")
    for path in sorted(folder(settings).glob("[0-9]*.json")):
        number = len(found) + 1
        if path.name != f"{number:06d}.json":
            raise CorruptData(f"generation {number:06d}.json is missing before {path}: restore it from a backup")
        known = seen.get(path) if trust else None
        link = Link(path, known[0], known[1] or None) if known else _link(path, number, seen, keys)
        expected = found[-1].sha256 if found else None
        if link.previous != expected:
            raise CorruptData(
                f"{path} names {_short(link.previous)} as the generation before it, found {_short(expected)}: "
                f"one of the two files was edited. {_cure(path)}"
            )
        found.append(link)
    seen.save()
    return found


def check(settings: Settings, past: list[Link], log: list[Logged]) -> None:
    """Raises CorruptData unless log, generations and the one in force tell one story."""
    published = [logged.entry.what for logged in log if isinstance(logged.entry.what, Published)]
    current = folder(settings) / CURRENT
    force = sha256(current.read_bytes()).hexdigest() if current.exists() else None
    if force and force not in {link.sha256 for link in past}:
        last = past[-1].path.name if past else "no generation at all"
        raise CorruptData(
            f"{current} and the last generation ({last}) differ: one of them was edited. See which one is right; "
            f"restore the generation from a backup, or remove {CURRENT} to have it written anew."
        )
    if force and force not in {what.sha256 for what in published[-2:]}:
        raise CorruptData(
            f"{current} is not one of the last two generations that the decision log published: restore the log from "
            f"a backup, or remove {CURRENT} to have it written anew."
        )
    for what in published:
        if what.generation > len(past) or past[what.generation - 1].sha256 != what.sha256:
            raise CorruptData(
                f"the decision log published {_short(what.sha256)} as generation {what.generation}, which is not the "
                f"file in {folder(settings)}: restore the file from a backup"
            )


def check_heads(manifests: list[PublishedManifest], log: list[Logged]) -> None:
    """Raises CorruptData when a generation was made from other decisions than the log now tells."""
    for published in manifests:
        said = published.manifest.decisions
        if said.entries and (len(log) < said.entries or log[said.entries - 1].sha256 != said.head):
            raise CorruptData(
                f"generation {published.manifest.generation} was made after entry {said.entries} ({_short(said.head)}) "
                f"of the decision log, which is not there any more: the log was edited. Restore it from a backup."
            )


def _link(path: Path, number: int, seen: Seen, keys: list[Ed25519PublicKey] | None) -> Link:
    look = Look([path])
    data = path.read_bytes()
    try:
        if keys is not None:
            verify(data, keys, str(path))
        found, previous = _place(path, data)
    except InvalidInput as error:
        raise CorruptData(f"generation {number} was damaged or edited: {error}. {_cure(path)}") from None
    if found != number:
        raise CorruptData(f"{path} says that it is generation {found}: it was edited. {_cure(path)}")
    digest = sha256(data).hexdigest()
    seen.put(look, digest, previous or "")
    return Link(path, digest, previous)


def _place(path: Path, data: bytes) -> tuple[int, str | None]:
    """A generation's number and the digest of the one before. Raises InvalidInput."""
    try:
        found = json.loads(data)
        return int(found["generation"]), found["previous"]
    except (ValueError, KeyError, TypeError) as error:
        raise InvalidInput(f"{path} is not a whole manifest: {error}") from None


def _short(digest: str | None) -> str:
    return digest[:12] if digest else "none"


def _cure(path: Path) -> str:
    return f"Restore it from a backup, or move {path.parent} away to start again at generation 1."
