"""Downloads are pinned, cached and resumable, over a package index on this machine."""

import hashlib
import http.server
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from supply_chain.errors import CorruptData, InvalidInput, Unavailable
from supply_chain.fetch import fetch_package

DATA = bytes(range(256)) * 4096
SHA256 = hashlib.sha256(DATA).hexdigest()
FILE = "demo-1.0-py3-none-any.whl"


class Index(http.server.BaseHTTPRequestHandler):
    """A package index with one file that drops the connection after `cut` bytes, once."""

    cut = 0
    ranges: list[str | None]

    def do_GET(self) -> None:
        if self.path == "/simple/demo/":
            return self._send(200, f'<a href="/files/{FILE}">{FILE}</a>'.encode(), "text/html")
        if self.path != f"/files/{FILE}":
            return self.send_error(404)
        asked = self.headers.get("Range")
        type(self).ranges.append(asked)
        start = int(asked.removeprefix("bytes=").rstrip("-")) if asked else 0
        body, cut = DATA[start:], type(self).cut
        type(self).cut = 0
        self._send(206 if asked else 200, body, "application/octet-stream", cut or len(body))
        return None

    def _send(self, status: int, body: bytes, kind: str, sent: int | None = None) -> None:
        self.send_response(status)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body[:sent])

    def log_message(self, *args: object) -> None:
        """Says nothing."""


@pytest.fixture
def index(monkeypatch: pytest.MonkeyPatch) -> Iterator[type[Index]]:
    handler = type("Handler", (Index,), {"cut": 0, "ranges": []})
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    monkeypatch.setenv("PIP_INDEX_URL", f"http://127.0.0.1:{server.server_port}/simple/")
    yield handler
    server.shutdown()


def test_fetched_once_then_cached(index: type[Index], tmp_path: Path) -> None:
    seen: list[int] = []
    path = fetch_package("demo==1.0", SHA256, "wheel", tmp_path, lambda name, have, total: seen.append(have))
    assert path.read_bytes() == DATA
    assert seen[-1] == len(DATA)
    assert fetch_package("demo==1.0", SHA256, "wheel", tmp_path) == path
    assert index.ranges == [None]


def test_an_interrupted_download_goes_on_where_it_stopped(index: type[Index], tmp_path: Path) -> None:
    index.cut = 300_000
    with pytest.raises(Unavailable, match="run the same command again"):
        fetch_package("demo==1.0", SHA256, "wheel", tmp_path)
    have = (tmp_path / SHA256 / f"{FILE}.part").stat().st_size
    assert 0 < have <= 300_000
    assert fetch_package("demo==1.0", SHA256, "wheel", tmp_path).read_bytes() == DATA
    assert index.ranges == [None, f"bytes={have}-"]


def test_a_wrong_digest_is_refused_and_the_file_removed(index: type[Index], tmp_path: Path) -> None:
    with pytest.raises(CorruptData, match=f"expected {'0' * 64}; the file was removed"):
        fetch_package("demo==1.0", "0" * 64, "wheel", tmp_path)
    assert [p for p in (tmp_path / ("0" * 64)).iterdir() if p.name != ".lock"] == []


def test_a_damaged_cached_file_is_refused_removed_and_fetched_again(index: type[Index], tmp_path: Path) -> None:
    path = fetch_package("demo==1.0", SHA256, "wheel", tmp_path)
    path.write_bytes(DATA[:-1] + b"x")
    with pytest.raises(CorruptData, match="the file was removed"):
        fetch_package("demo==1.0", SHA256, "wheel", tmp_path)
    assert fetch_package("demo==1.0", SHA256, "wheel", tmp_path).read_bytes() == DATA


def test_what_the_index_does_not_have(index: type[Index], tmp_path: Path) -> None:
    with pytest.raises(InvalidInput, match=r"no wheel of demo==2\.0"):
        fetch_package("demo==2.0", SHA256, "wheel", tmp_path)


def test_a_package_that_the_index_does_not_know(index: type[Index], tmp_path: Path) -> None:
    with pytest.raises(Unavailable, match="nothing called other"):
        fetch_package("other==1.0", SHA256, "wheel", tmp_path)


def test_an_index_that_does_not_answer(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("PIP_INDEX_URL", "http://127.0.0.1:9/simple/")
    with pytest.raises(Unavailable, match=r"demo==1\.0 could not be fetched .*run the same command again"):
        fetch_package("demo==1.0", SHA256, "wheel", tmp_path)
