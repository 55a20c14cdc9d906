"""What was read from files, kept as long as the files look unchanged.

A file looks unchanged while device, inode, size, modification and change time are the same. The
system sets the change time, so that a write, a replaced file and a reset modification time show. A
file written within two seconds of being read is not kept: a second write could bear the same time.
Damage below the file system does not show here: `supply-chain verify` reads every byte again.
"""

import json
import os
import time
from collections.abc import Iterable
from pathlib import Path

from supply_chain.identity import canonical_json
from supply_chain.store import write_atomically

_SETTLED_NS = 2_000_000_000
Stamp = list[int]


def stamp(path: str | Path) -> Stamp:
    """What tells whether a file was touched. Raises FileNotFoundError."""
    found = os.stat(path)  # noqa: PTH116 (thousands of them)
    return [found.st_dev, found.st_ino, found.st_size, found.st_mtime_ns, found.st_ctime_ns]


class Look:
    """A look at files before they are read."""

    def __init__(self, paths: Iterable[str | Path]):
        self.paths, self.since_ns = [str(path) for path in paths], time.time_ns()
        self.stamps = [stamp(path) for path in self.paths]

    @property
    def settled(self) -> bool:
        """Whether what was read since may be kept: the files are untouched and were not fresh."""
        fresh = any(max(found[3], found[4]) >= self.since_ns - _SETTLED_NS for found in self.stamps)
        return not fresh and self.stamps == [stamp(path) for path in self.paths]


class Seen:
    """Two strings a file: its SHA-256 and one more. A damaged or missing cache is an empty one."""

    def __init__(self, path: Path):
        self.path, self.changed = path, False
        try:
            self.found: dict[str, list] = dict(json.loads(path.read_bytes()))
        except (OSError, ValueError, TypeError):
            self.found = {}

    def get(self, path: Path) -> tuple[str, str] | None:
        """What was kept about `path`, unless it was touched since."""
        known = self.found.get(path.name)
        return (known[1], known[2]) if known and known[0] == stamp(path) else None

    def put(self, look: Look, digest: str, more: str) -> None:
        """Keeps what was read of one file since `look`, if the file has settled."""
        if look.settled:
            self.found[Path(look.paths[0]).name], self.changed = [look.stamps[0], digest, more], True

    def save(self) -> None:
        """Writes the cache if anything was added."""
        if self.changed:
            write_atomically(self.path, canonical_json(self.found))
