"""A cheap sign that a source may have changed, before its bytes are read."""

from pathlib import Path

from supply_chain.identity import identity
from supply_chain.recipe.sources import PathSource, Source


def stamp(source: Source, root: Path) -> str | None:
    """Names, sizes and times of a path's files; None where only reading the source tells."""
    if not isinstance(source, PathSource):
        return None
    path = root / source.path
    files = sorted(p for p in path.rglob("*") if p.is_file()) if path.is_dir() else [path]
    found = [(str(p), s.st_size, s.st_mtime_ns, s.st_ino) for p in files if (s := p.stat())]
    return identity("stamp", 1, files=found)
