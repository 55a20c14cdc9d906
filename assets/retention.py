"""What may go: stored objects that nothing needs any more."""

import json
import shutil
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from assets.project import Project
from assets.refs import KINDS
from registry.decisions import Log, Standing, standings
from registry.release import releases
from supply_chain.records import Artifact, BaseModelRecord, Trained
from supply_chain.store import ENTRY, Store
from supply_chain.succession import line_of

_SCRATCH = ("work", "tmp")


@dataclass(frozen=True)
class Leftover:
    """One folder of the store, the bytes in it and its age (days)."""

    kind: str
    path: Path
    size_bytes: int
    days: float


def leftovers(project: Project, days: float) -> list[Leftover]:
    """Folders older than `days` that no asset, champion, challenger or way back of a rollback refers to.

    Base models always stay. Damaged objects that were set aside and unfinished work go by age alone.
    """
    needed = {*_latest(project), *_released(project)}
    found = [_measured(kind, path) for kind, path in _folders(project.store.root) if (kind, path.name) not in needed]
    return sorted((one for one in found if one.days >= days), key=lambda one: -one.size_bytes)


def remove(found: list[Leftover], project: Project) -> None:
    """Removes folders; one that is killed half-way leaves no half object behind."""
    for one in found:
        with project.store.locked(one.path.name):
            trash = project.store.root / "tmp" / f"removed-{one.path.name}"
            shutil.rmtree(trash, ignore_errors=True)
            trash.parent.mkdir(parents=True, exist_ok=True)
            one.path.rename(trash)
            shutil.rmtree(trash)


def _latest(project: Project) -> Iterator[tuple[str, str]]:
    for path in project.references.glob("*.json"):
        refs = json.loads(path.read_text(encoding="utf-8"))
        yield from ((ref["kind"], ref["key"]) for ref in (refs if isinstance(refs, list) else [refs]))


def _released(project: Project) -> Iterator[tuple[str, str]]:
    log = standings(Log(project.settings.home).entries())
    for release in releases(project.settings):
        standing = log.get(release.name, Standing())
        line = {standing.champion, *standing.line}
        waits = "challenger" in release.aliases and release.version not in standing.retired
        if release.version in line or waits:
            claims = release.claims()
            for kind in ("artifact", "scorecard", "decision", "report"):
                yield kind, getattr(claims, kind).key
            if release.version == standing.champion:
                yield from _line(claims.artifact.key, project.store)


def _line(key: str, store: Store) -> Iterator[tuple[str, str]]:
    """What a next version may go on from: the champion's weights before 4 bits, and its line's training and rows."""
    champion = store.find(Artifact, key)
    full = store.of_digest(Artifact, champion.record.made_from) if champion else None
    if champion is None or full is None or store.of_digest(Trained, full.record.made_from) is None:
        return  # it was cleaned away before: nothing goes on from it
    yield full.record.kind, full.key
    for ancestor in line_of(champion, store):
        for stored in (ancestor.artifact, ancestor.trained, ancestor.splits):
            yield stored.record.kind, stored.key


def _folders(root: Path) -> Iterator[tuple[str, Path]]:
    for kind in (*KINDS, *_SCRATCH):
        if kind != BaseModelRecord.kind and (root / kind).is_dir():
            yield from ((kind, path) for path in sorted((root / kind).iterdir()) if path.is_dir())


def _measured(kind: str, path: Path) -> Leftover:
    files = [file.stat() for file in path.rglob("*") if file.is_file()]
    entry = path / ENTRY
    touched = entry.stat().st_mtime if entry.exists() else max((f.st_mtime for f in files), default=0.0)
    return Leftover(kind, path, sum(f.st_size for f in files), (time.time() - touched) / 86_400)
