"""Generations reach other places whole, in order and at least once; a webhook can tell who speaks."""

import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from registry.delivery import SIGNATURE, deliver, digest_of
from registry.fleet import Fleet
from registry.generations import CURRENT
from registry.manifest import publish
from supply_chain.errors import Unavailable
from supply_chain.settings import Settings
from supply_chain.store import Store
from tests.registry.work import FLEET


class Taker(BaseHTTPRequestHandler):
    def do_PUT(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        self.server.got.append((self.command, self.path, dict(self.headers), body))
        self.send_response(self.server.status)
        self.end_headers()

    do_POST = do_PUT

    def log_message(self, *_) -> None:
        pass


@pytest.fixture
def server() -> Iterator[ThreadingHTTPServer]:
    with ThreadingHTTPServer(("127.0.0.1", 0), Taker) as server:
        server.got, server.status = [], 200
        threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True).start()
        yield server
        server.shutdown()


@pytest.fixture
def fleet(server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Fleet:
    at = f"http://127.0.0.1:{server.server_address[1]}"
    monkeypatch.setenv("PLACE_URL", f"{at}/manifest")
    monkeypatch.setenv("PLACE_TOKEN", "t0ken")
    monkeypatch.setenv("HOOK_URL", f"{at}/hook")
    monkeypatch.setenv("HOOK_SECRET", "s3cret")
    return Fleet.model_validate({
        **FLEET.model_dump(),
        "publish_to": [{"kind": "url", "url": f"file://{tmp_path}/shared"},
                       {"kind": "http", "url_env": "PLACE_URL", "token_env": "PLACE_TOKEN"}],
        "webhook": {"url_env": "HOOK_URL", "secret_env": "HOOK_SECRET"},
    })  # fmt: skip


def test_every_place_gets_it_once(fleet: Fleet, server, tmp_path: Path):
    settings = Settings(home=tmp_path / "home")
    published = publish([], fleet, settings, Store.of(settings))
    for _ in range(2):
        deliver(published, fleet, settings)
    data = published.path.read_bytes()
    assert (tmp_path / "shared" / CURRENT).read_bytes() == data == (tmp_path / "shared/000001.json").read_bytes()
    assert len(list((tmp_path / "shared").iterdir())) == 2
    (put, posted) = server.got
    assert put[:2] == ("PUT", "/manifest") and put[2]["Authorization"] == "Bearer t0ken" and put[3] == data
    assert posted[:2] == ("POST", "/hook")
    assert json.loads(posted[3]) == {"fleet": "f1", "generation": 1, "sha256": published.sha256}
    assert posted[2][SIGNATURE] == digest_of(posted[3], b"s3cret") != digest_of(posted[3], b"other")


def test_a_place_that_was_away_gets_it_later(fleet: Fleet, server, tmp_path: Path, monkeypatch):
    settings = Settings(home=tmp_path / "home")
    published = publish([], fleet, settings, Store.of(settings))
    server.status = 500
    monkeypatch.delenv("HOOK_SECRET")
    with pytest.raises(Unavailable) as error:
        deliver(published, fleet, settings)
    lines = str(error.value).splitlines()
    assert lines[0].startswith("generation 1 is in force here, but 2 places did not take it")
    assert lines[1].startswith("  PLACE_URL: HTTP Error 500")
    assert lines[2] == "  HOOK_URL: the environment variable HOOK_SECRET is not set"
    assert (tmp_path / "shared" / CURRENT).exists() and "s3cret" not in str(error.value)
    server.status, server.got[:] = 200, []
    monkeypatch.setenv("HOOK_SECRET", "s3cret")
    deliver(published, fleet, settings)
    assert [got[0] for got in server.got] == ["PUT", "POST"]
