"""Opens a file, or a member of an archive, as a stream; what unpacks to too much is refused."""

import bz2
import fnmatch
import gzip
import io
import lzma
import struct
import tarfile
import tempfile
import zipfile
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import IO, Any

from supply_chain.errors import InvalidInput

_MAX_BYTES = 1 << 34
_FREE_BYTES = 1 << 26
_MAX_RATIO = 200
_PACKED: dict[str, Any] = {".gz": gzip.open, ".bz2": bz2.open, ".xz": lzma.open}
BROKEN: tuple[type[Exception], ...] = (
    tarfile.TarError, zipfile.BadZipFile, EOFError, OSError, lzma.LZMAError, zlib.error, struct.error,
    NotImplementedError, ValueError, RuntimeError,
)  # fmt: skip
"""What the standard library raises for a damaged or encrypted archive."""


def most_bytes(packed: int) -> int:
    """How much `packed` bytes may unpack to."""
    return min(_MAX_BYTES, max(_FREE_BYTES, packed * _MAX_RATIO))


class Measured(io.RawIOBase):
    """A stream that refuses to unpack to more than 200 times the `packed` bytes (64 MiB are free)."""

    def __init__(self, stream: IO[bytes], packed: int, name: str):
        self._stream, self._name, self._read = stream, name, 0
        self._limit = most_bytes(packed)

    def readable(self) -> bool:
        """Always."""
        return True

    def readinto(self, buffer: memoryview) -> int:  # type: ignore[override]
        """Reads into `buffer`. Raises InvalidInput past the limit and for damaged bytes."""
        try:
            data = self._stream.read(len(buffer))
        except BROKEN as error:
            raise InvalidInput(f"{self._name} is damaged or cannot be unpacked ({error})") from None
        self._read += len(data)
        if self._read > self._limit:
            raise InvalidInput(f"{self._name} unpacks to more than {self._limit:,} bytes: not read (archive bomb?)")
        buffer[: len(data)] = data
        return len(data)


def open_member(path: Path, member: str | None, name: str) -> io.BufferedIOBase:
    """The bytes of `path`, or of `member` inside it (`!` enters archives), decompressed by suffix."""
    stream: IO[bytes] = path.open("rb")
    packed = path.stat().st_size
    steps = [] if member is None else member.split("!")
    for number, step in enumerate(steps):
        stream = _enter(stream, path.name if number == 0 else steps[number - 1], step, packed)
        if number < len(steps) - 1:
            stream = _spooled(stream, packed, step)
    suffix = Path(member or path.name).suffix.lower()
    if suffix in _PACKED:
        stream = _PACKED[suffix](stream)
    elif member is None:
        return stream  # type: ignore[return-value]
    return io.BufferedReader(Measured(stream, packed, name), 1 << 18)


def is_archive(path: Path) -> bool:
    """Whether `path` is a zip or tar file."""
    try:
        return zipfile.is_zipfile(path) or tarfile.is_tarfile(path)
    except BROKEN:
        return False  # the suffix tells how to read it, and reading tells what is wrong


def members(path: Path, pattern: str) -> Iterator[str]:
    """Names of the files in an archive that match `pattern`, sorted. Raises InvalidInput for none."""
    try:
        if zipfile.is_zipfile(path):
            with zipfile.ZipFile(path) as archive:
                names = [i.filename for i in archive.infolist() if not i.is_dir()]
        else:
            with tarfile.open(path) as tar:
                names = [m.name for m in _tar_members(tar, path.stat().st_size, path.name)]
    except BROKEN as error:
        raise InvalidInput(f"{path.name} is no archive that can be read ({error})") from None
    loose = pattern.removeprefix("**/")
    found = sorted(n for n in names if fnmatch.fnmatch(n, pattern) or fnmatch.fnmatch(n, loose))
    if not found:
        raise InvalidInput(f"{path.name} holds no file that matches {pattern!r}; it holds {', '.join(names[:5])}")
    yield from found


def _tar_members(tar: tarfile.TarFile, packed: int, name: str) -> Iterator[tarfile.TarInfo]:
    """The files in a tar; stops before it would unpack more than it should, since passing a member unpacks it."""
    total = 0
    for member in tar:
        total += member.size
        if total > most_bytes(packed):
            raise InvalidInput(f"{name} unpacks to more than {most_bytes(packed):,} bytes: not read (archive bomb?)")
        if member.isfile():
            yield member


def _enter(data: IO[bytes], name: str, member: str, packed: int) -> IO[bytes]:
    try:
        if zipfile.is_zipfile(data):
            return zipfile.ZipFile(data).open(member)
        data.seek(0)
        tar = tarfile.open(fileobj=data)  # noqa: SIM115 (read by the caller)
        found = next((m for m in _tar_members(tar, packed, name) if m.name == member), None)
        file = tar.extractfile(found) if found else None
        if file is None:
            raise KeyError(member)
        return file
    except KeyError:
        raise InvalidInput(f"data.source.member: {name} holds no file {member!r}") from None
    except BROKEN as error:
        raise InvalidInput(f"{name} is no archive that can be read ({error})") from None


def _spooled(stream: IO[bytes], packed: int, name: str) -> IO[bytes]:
    """An inner archive in a temporary file, since reading it needs seeking."""
    spool = tempfile.TemporaryFile()  # noqa: SIM115 (read by the caller)
    measured = io.BufferedReader(Measured(stream, packed, name), 1 << 18)
    while chunk := measured.read(1 << 20):
        spool.write(chunk)
    spool.seek(0)
    return spool
