"""Fetches a distribution from the configured package index: pinned, cached and resumable.

`unearth` finds the file as pip would, without running any of it. Bytes arrive in `NAME.part`;
an interrupted download goes on where it stopped. A wrong digest is refused and the file removed.
"""

import os
from collections.abc import Callable
from pathlib import Path

from filelock import FileLock

from supply_chain.errors import CorruptData, InvalidInput, Unreachable
from supply_chain.identity import file_sha256

Progress = Callable[[str, int, int], None]
"""Called with a file's name, the bytes there are and the bytes expected (0 if unknown)."""


def fetch_package(requirement: str, sha256: str, form: str, cache: Path, progress: Progress | None = None) -> Path:
    """The distribution file of `name==version`, from `cache` or the index.

    Raises CorruptData for a wrong digest, Unreachable when the index does not answer and
    InvalidInput when it has no such file.
    """
    folder = cache / sha256
    folder.mkdir(parents=True, exist_ok=True)
    with FileLock(folder / ".lock"):
        for path in folder.glob("[!.]*"):
            if path.suffix != ".part":
                return _checked(path, sha256)
        return _download(requirement, sha256, form, folder, progress or _silent)


def _download(requirement: str, sha256: str, form: str, folder: Path, progress: Progress) -> Path:
    from unearth import PackageFinder  # noqa: PLC0415 (0.3 s, only when something is fetched)
    from unearth.errors import UnpackError  # noqa: PLC0415

    name = requirement.partition("==")[0]
    index = os.environ.get("PIP_INDEX_URL")
    finder = PackageFinder(
        index_urls=[index] if index else (),
        no_binary=[name] if form == "sdist" else (),
        only_binary=[name] if form == "wheel" else (),
        ignore_compatibility=True,
    )
    try:
        match = finder.find_best_match(requirement)
        best = match.best
        if best is None and not match.candidates:
            raise Unreachable(
                f"the package index does not answer or has nothing called {name}. Behind a mirror, set PIP_INDEX_URL; "
                f"without a network, put the file into {folder}"
            )
        if best is None:
            raise InvalidInput(f"the package index has no {form} of {requirement}: check name, version and `form`")
        part = folder / f"{best.link.filename}.part"
        _stream(finder.session, best.link.url_without_fragment, part, progress)
    except (OSError, UnpackError, _http_error()) as error:
        raise Unreachable(
            f"{requirement} could not be fetched ({error}). What arrived is kept: run the same command again. "
            f"Behind a mirror, set PIP_INDEX_URL; without a network, put the file into {folder}"
        ) from error
    _checked(part, sha256)
    os.replace(part, part.with_suffix(""))
    return part.with_suffix("")


def _stream(session: object, url: str, part: Path, progress: Progress) -> None:
    have = part.stat().st_size if part.exists() else 0
    headers = {"Range": f"bytes={have}-"} if have else {}
    with session.stream("GET", url, headers=headers, follow_redirects=True) as response:  # type: ignore[attr-defined]
        if response.status_code == 416:
            return  # all bytes are there; the digest decides
        response.raise_for_status()
        if response.status_code != 206:
            have = 0
        total = have + int(response.headers.get("content-length", 0))
        with part.open("ab" if have else "wb") as file:
            for chunk in response.iter_bytes(1 << 18):
                file.write(chunk)
                have += len(chunk)
                progress(part.stem, have, total)


def _checked(path: Path, sha256: str) -> Path:
    found = file_sha256(path)
    if found != sha256:
        path.unlink()
        raise CorruptData(
            f"{path.name}: SHA-256 is {found}, expected {sha256}; the file was removed. "
            f"Run again; if it happens twice, the pinned digest or the index is wrong."
        )
    return path


def _http_error() -> type[Exception]:
    import httpx2  # noqa: PLC0415 (comes with unearth)

    return httpx2.HTTPError


def _silent(_name: str, _have: int, _total: int) -> None:
    """No progress shown."""
