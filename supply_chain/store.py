"""The store: every made thing once, under the identity of what made it.

An object is a folder of files plus `entry.json` (its record and each file's SHA-256). It is
written under a temporary name, synced and renamed, so that it is whole or absent. With
`Settings.store` set, objects are also pushed to and pulled from that fsspec URL, where
`entry.json` is uploaded last and so marks a whole object.
"""

import json
import logging
import os
import shutil
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar, Generic, TypeVar

import fsspec
from filelock import FileLock, Timeout
from pydantic import BaseModel, ConfigDict

from supply_chain.errors import CorruptData, Unavailable, Unreachable
from supply_chain.identity import canonical_json, file_sha256, identity
from supply_chain.settings import Settings

ENTRY = "entry.json"
log = logging.getLogger(__name__)


class Record(BaseModel):
    """What one stage hands to the next. `kind` names the folder it is stored in."""

    model_config = ConfigDict(frozen=True, extra="forbid")
    kind: ClassVar[str]


R = TypeVar("R", bound=Record)


class FileDigest(BaseModel):
    """One stored file's SHA-256 (hex) and size in bytes."""

    model_config = ConfigDict(frozen=True)
    sha256: str
    size_bytes: int


@dataclass(frozen=True)
class Stored(Generic[R]):
    """A record, where its files lie, and `digest`: one SHA-256 over all file digests."""

    key: str
    record: R
    path: Path
    files: dict[str, FileDigest]
    digest: str

    @property
    def size_bytes(self) -> int:
        """Bytes on disk, `entry.json` not counted."""
        return sum(file.size_bytes for file in self.files.values())

    def verify(self) -> "Stored[R]":
        """Reads every file again. Raises CorruptData, after setting the object aside."""
        bad = [name for name, file in self.files.items() if not _intact(self.path / name, file)]
        if not bad:
            return self
        aside = self.path.with_name(f".damaged-{self.path.name[:12]}-{uuid.uuid4().hex[:6]}")
        os.replace(self.path, aside)
        raise CorruptData(
            f"stored {self.record.kind} {self.key[:12]} is damaged ({', '.join(bad)} differ from the recorded "
            f"SHA-256); it was moved to {aside}. Run the same command again to make it anew."
        )


def content_digest(files: dict[str, FileDigest]) -> str:
    """One digest over the names and digests of `files`."""
    return identity("files", 1, files={name: file.sha256 for name, file in files.items()})


class Store:
    """Objects below `root`, shared through `remote` (an fsspec URL) when given."""

    def __init__(self, root: Path, remote: str | None = None):
        self.root, self.remote = root, remote.rstrip("/") if remote else None

    @classmethod
    def of(cls, settings: Settings) -> "Store":
        """The store that `settings` name."""
        return cls(settings.home / "store", settings.store)

    def find(self, kind: type[R], key: str) -> Stored[R] | None:
        """The object made from `key`, or None. Raises CorruptData for an unreadable entry."""
        path = self._path(kind, key)
        if not (path / ENTRY).exists() and not self._pull(path):
            return None
        try:
            entry = json.loads((path / ENTRY).read_bytes())
            files = {name: FileDigest(**file) for name, file in entry["files"].items()}
            return Stored(key, kind.model_validate(entry["record"]), path, files, content_digest(files))
        except (ValueError, KeyError, TypeError) as error:
            raise CorruptData(f"{path / ENTRY} cannot be read ({error}): remove {path} and run again") from error

    def once(self, kind: type[R], key: str, make: Callable[[Path], R]) -> Stored[R]:
        """The object made from `key`; if absent, `make(folder)` fills a folder and returns its record.

        Two processes that ask for the same key at once make it once.
        """
        with self.locked(key):
            found = self.find(kind, key)
            if found is not None:
                return found
            draft = self.root / "tmp" / key
            shutil.rmtree(draft, ignore_errors=True)  # left by a killed process; the lock is ours
            draft.mkdir(parents=True)
            try:
                self._commit(draft, make(draft), self._path(kind, key))
            finally:
                shutil.rmtree(draft, ignore_errors=True)
            stored = self.find(kind, key)
            assert stored is not None
            return stored

    def all(self, kind: type[R]) -> Iterator[Stored[R]]:
        """Every local object of one kind, in order of key."""
        for path in sorted((self.root / kind.kind).glob("[0-9a-f]*")):
            stored = self.find(kind, path.name)
            if stored is not None:
                yield stored

    def of_digest(self, kind: type[R], digest: str) -> Stored[R] | None:
        """The local object of one kind whose bytes have this digest, or None."""
        return next((stored for stored in self.all(kind) if stored.digest == digest), None)

    def probe(self) -> None:
        """Writes, reads and removes a small file, here and in the shared store. Raises Unavailable."""
        name = f"probe-{uuid.uuid4().hex}"
        here = self.root / "tmp" / name
        try:
            write_atomically(here, name)
            here.unlink()
        except OSError as error:
            raise Unavailable(f"{self.root} cannot be written: {error.strerror}") from error
        if self.remote is None:
            return
        with _reaching(self.remote):
            filesystem, base = fsspec.url_to_fs(f"{self.remote}/{name}")
            filesystem.makedirs(os.path.dirname(base), exist_ok=True)
            filesystem.pipe_file(base, name.encode())
            if filesystem.cat_file(base) != name.encode():
                raise OSError("it gave back other bytes than were written")
            filesystem.rm_file(base)

    def workdir(self, key: str) -> Path:
        """A folder for resumable work on `key`; it outlives the process. See `clear_work`."""
        path = self.root / "work" / key
        path.mkdir(parents=True, exist_ok=True)
        return path

    def clear_work(self, key: str) -> None:
        """Removes the resumable work of a key that is done."""
        shutil.rmtree(self.root / "work" / key, ignore_errors=True)

    @contextmanager
    def locked(self, name: str) -> Iterator[None]:
        """Holds a lock between processes; the system frees it when its holder dies."""
        path = self.root / "locks" / f"{name}.lock"
        path.parent.mkdir(parents=True, exist_ok=True)
        lock = FileLock(path)
        try:
            lock.acquire(timeout=1)
        except Timeout:
            log.warning("waiting for another process that holds %s", name[:12])
            lock.acquire()
        try:
            yield
        finally:
            lock.release()

    def _path(self, kind: type[Record], key: str) -> Path:
        return self.root / kind.kind / key

    def _commit(self, draft: Path, record: Record, target: Path) -> None:
        names = sorted(p.relative_to(draft).as_posix() for p in draft.rglob("*") if p.is_file())
        files = {n: FileDigest(sha256=file_sha256(draft / n), size_bytes=(draft / n).stat().st_size) for n in names}
        entry = {"record": record.model_dump(mode="json"), "files": {n: f.model_dump() for n, f in files.items()}}
        (draft / ENTRY).write_text(canonical_json(entry), encoding="utf-8")
        for name in [*names, ENTRY]:
            sync(draft / name)
        sync(draft)
        target.parent.mkdir(parents=True, exist_ok=True)
        os.rename(draft, target)
        sync(target.parent)
        self._push(target, [*names, ENTRY])

    def _push(self, path: Path, names: list[str]) -> None:
        if self.remote is None:
            return
        url = f"{self.remote}/{path.relative_to(self.root).as_posix()}"
        with _reaching(url):
            filesystem, base = fsspec.url_to_fs(url)
            for name in names:
                filesystem.makedirs(os.path.dirname(f"{base}/{name}"), exist_ok=True)
                filesystem.put_file(str(path / name), f"{base}/{name}")

    def _pull(self, path: Path) -> bool:
        if self.remote is None:
            return False
        url = f"{self.remote}/{path.relative_to(self.root).as_posix()}"
        with _reaching(url):
            filesystem, base = fsspec.url_to_fs(url)
            if not filesystem.exists(f"{base}/{ENTRY}"):
                return False
            draft = self.root / "tmp" / f"pull-{uuid.uuid4().hex}"
            draft.mkdir(parents=True)
            filesystem.get(f"{base}/", f"{draft}/", recursive=True)
        path.parent.mkdir(parents=True, exist_ok=True)
        os.rename(draft, path)
        return True


def write_atomically(path: Path, text: str) -> None:
    """Writes `text` (UTF-8) so that a reader sees the old file or the new one, never a part."""
    path.parent.mkdir(parents=True, exist_ok=True)
    draft = path.with_name(f".{path.name}.{uuid.uuid4().hex[:8]}")
    draft.write_text(text, encoding="utf-8")
    sync(draft)
    os.replace(draft, path)
    sync(path.parent)


@contextmanager
def _reaching(url: str) -> Iterator[None]:
    try:
        yield
    except (OSError, ValueError, ImportError) as error:
        raise Unreachable(f"shared store {url}: {error}. Check SUPPLY_CHAIN_STORE and the access to it.") from error


def _intact(path: Path, expected: FileDigest) -> bool:
    return path.is_file() and path.stat().st_size == expected.size_bytes and file_sha256(path) == expected.sha256


def sync(path: Path) -> None:
    """Waits until a file, or a folder's list of names, is on disk."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
