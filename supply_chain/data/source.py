"""Locates a recipe's source and gives its bytes an identity."""

import io
from dataclasses import dataclass
from pathlib import Path

from fsspec.implementations.local import LocalFileSystem
from fsspec.utils import get_protocol

from supply_chain.data.archive import is_archive, members, open_member
from supply_chain.data.snapshot import fetch_url, hub_snapshot, sql_snapshot
from supply_chain.errors import InvalidInput
from supply_chain.fetch import Progress, fetch_package
from supply_chain.identity import file_sha256, identity
from supply_chain.recipe.sources import HubSource, PackageSource, PathSource, Source, SqlSource, UrlSource
from supply_chain.settings import PROJECT

_THROUGH_OTHERS = frozenset(
    {"asyncwrapper", "blockcache", "cached", "dir", "filecache", "generic", "git", "libarchive", "reference"}
    | {"simplecache", "tar", "zip"}
)


@dataclass(frozen=True)
class SourceFile:
    """One file, or one member of an archive; `name` is shown in rejects."""

    name: str
    path: Path
    member: str | None = None

    def open(self) -> io.BufferedIOBase:
        """The bytes, decompressed. Raises InvalidInput for a missing member or an archive bomb."""
        return open_member(self.path, self.member, self.name)


@dataclass(frozen=True)
class Located:
    """A source's files in reading order. `version` changes when their bytes do."""

    name: str
    version: str
    files: tuple[SourceFile, ...]
    downloads: Path
    root: Path


def locate(source: Source, downloads: Path, root: Path = PROJECT, progress: Progress | None = None) -> Located:
    """Fetches what must be fetched. Raises InvalidInput, CorruptData or Unavailable."""
    if isinstance(source, PackageSource):
        path = fetch_package(source.package, source.sha256, source.form, downloads, progress)
        version = identity("source", 1, sha256=source.sha256, member=source.member)
        name = f"{source.package}!{source.member}"
        return Located(name, version, (SourceFile(name, path, source.member),), downloads, root)
    if isinstance(source, PathSource):
        path = _inside(root / source.path, root)
        return _of_path(source.path, path, source, downloads, root)
    if isinstance(source, UrlSource):
        _check_url(source.url, root)
        path = fetch_url(source.url, source.sha256, downloads)
        return _of_path(source.url.rpartition("/")[2] or source.url, path, source, downloads, root)
    if isinstance(source, SqlSource):
        path, name = sql_snapshot(source, downloads), f"sql:{source.url_env}"
    else:
        path, name = _hub(source, downloads, root)
    return Located(name, path.stem, (SourceFile(name, path),), downloads, root)


def _hub(source: HubSource, downloads: Path, root: Path) -> tuple[Path, str]:
    folder = _inside(root / source.path, root) if source.path else None
    return hub_snapshot(source, folder, downloads), f"{source.dataset or source.path}/{source.split}"


def _of_path(name: str, path: Path, source: PathSource | UrlSource, downloads: Path, root: Path) -> Located:
    if source.member is not None:
        files = [SourceFile(f"{name}!{source.member}", path, source.member)]
    elif path.is_dir():
        files = _in_folder(name, path, source.pattern, root)
    elif is_archive(path):
        files = [SourceFile(f"{name}!{m}", path, m) for m in members(path, source.pattern)]
    else:
        files = [SourceFile(name, path)]
    digests = {p: file_sha256(p) for p in {f.path for f in files}}
    if len(files) == 1 and files[0].member is None and not path.is_dir():
        return Located(name, digests[path], tuple(files), downloads, root)
    version = identity("source", 1, files=[(f.name, f.member, digests[f.path]) for f in files])
    return Located(name, version, tuple(files), downloads, root)


def _in_folder(name: str, folder: Path, pattern: str, root: Path) -> list[SourceFile]:
    if ".." in Path(pattern).parts or Path(pattern).is_absolute():
        raise InvalidInput(f"data.source.pattern: {pattern!r} leads out of {folder}")
    try:
        found = sorted(p for p in folder.glob(pattern) if p.is_file() and not p.name.startswith("."))
    except (OSError, ValueError, IndexError, NotImplementedError) as error:
        raise InvalidInput(f"data.source.pattern: {pattern[:300]!r} is no pattern ({error})") from None
    if not found:
        raise InvalidInput(f"data.source: no file in {folder} matches {pattern!r}")
    return [SourceFile(f"{name}/{p.relative_to(folder).as_posix()}", _inside(p, root)) for p in found]


def _check_url(url: str, root: Path) -> None:
    """Raises InvalidInput for what would read this machine's files outside the project."""
    protocol = get_protocol(url)
    if "::" in url or protocol in _THROUGH_OTHERS:
        raise InvalidInput(
            f"data.source.url: {url!r} reads one file through another; name the file itself (`member` opens archives)"
        )
    if protocol in {"file", "local"}:
        _inside(Path(str(LocalFileSystem._strip_protocol(url))), root)


def _inside(path: Path, root: Path) -> Path:
    try:
        resolved = path.resolve()
        if resolved.is_relative_to(root.resolve()) and resolved.exists():
            return resolved
    except (OSError, ValueError):  # a name too long, or with a NUL byte
        pass
    raise InvalidInput(f"data.source.path: no such file inside the project: {str(path)[:300]!r}")
