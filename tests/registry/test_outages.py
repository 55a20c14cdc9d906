"""A tracking server that refuses, is overloaded or hangs: a clear error, and nothing half done."""

import contextlib
import threading
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from registry.decisions import Act, Log, Moved
from registry.lifecycle import Desk
from registry.manifest import publish
from registry.release import Release
from registry.server import retried, tracking_server
from supply_chain.errors import Unavailable
from supply_chain.recipe import Recipe
from supply_chain.settings import Settings
from supply_chain.store import Store
from tests.registry.evidence import release_made_by_hand
from tests.registry.work import FLEET

ME = Act("ada", "why")


class Server(ThreadingHTTPServer):
    """Answers every request with `status`, after `delay_s`."""

    status, delay_s, asked = 503, 0.0, 0


class Answer(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        self.server.asked += 1
        time.sleep(self.server.delay_s)
        self.send_response(self.server.status)
        self.end_headers()
        body = b'{"error_code": "PERMISSION_DENIED", "message": "not you"}' if self.server.status == 403 else b""
        with contextlib.suppress(BrokenPipeError):  # the client did not wait
            self.wfile.write(body)

    do_POST = do_GET

    def log_message(self, *_) -> None:
        pass


@pytest.fixture
def server() -> Iterator[Server]:
    with Server(("127.0.0.1", 0), Answer) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield server
        server.shutdown()


@pytest.fixture
def desk(server: Server, tmp_path, monkeypatch: pytest.MonkeyPatch) -> Desk:
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "1")
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_BACKOFF_FACTOR", "0")
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_TIMEOUT", "1")
    settings = Settings(home=tmp_path / "home", mlflow_uri=f"http://127.0.0.1:{server.server_address[1]}")
    return Desk(FLEET, settings, Store.of(settings))


@pytest.fixture
def release(desk: Desk, tiny_recipe: Recipe) -> Release:
    """A logged champion."""
    release = release_made_by_hand(tiny_recipe, desk.store)
    moved = Moved(action="promote", model=release.name, version=1, replaced=None, claims=release.claims())
    Log(desk.settings.home).append(moved, ME)
    publish([release], FLEET, desk.settings, desk.store, ME)
    return release


@pytest.mark.parametrize(
    ("status", "delay_s", "said"),
    [(403, 0.0, "PERMISSION_DENIED: not you"), (503, 0.0, "503"), (200, 3.0, "timed out|Timeout|timeout")],
)
def test_nothing_is_half_done(server: Server, desk: Desk, release: Release, status, delay_s, said):
    server.status, server.delay_s = status, delay_s
    before = len(Log(desk.settings.home).entries())
    with pytest.raises(Unavailable, match=said) as error:
        desk.promote(release, ME)
    assert "run the same command again" in str(error.value)
    assert len(Log(desk.settings.home).entries()) == before
    assert server.asked == (1 if status == 403 else 2)  # a refusal is not tried again


def test_a_server_that_is_down_leaves_everything_as_it_was(server: Server, desk: Desk, release: Release):
    server.shutdown()
    server.server_close()
    before = {path: path.read_bytes() for path in desk.settings.home.rglob("*") if path.is_file()}
    with pytest.raises(Unavailable, match=f"MLflow at {desk.settings.mlflow_uri}: .*run the same command again"):
        desk.promote(release, ME)
    after = {path: path.read_bytes() for path in desk.settings.home.rglob("*") if path.is_file()}
    assert {p for p in before | after if before.get(p) != after.get(p) and p.suffix != ".lock"} == set()


def test_a_locked_database_is_tried_again(tmp_path):
    from mlflow.exceptions import MlflowException
    from mlflow.protos.databricks_pb2 import TEMPORARILY_UNAVAILABLE

    tries = []

    def work(client):
        tries.append(client)
        if len(tries) < 3:
            raise MlflowException("database is locked", error_code=TEMPORARILY_UNAVAILABLE)
        return "done"

    settings = Settings(home=tmp_path, mlflow_uri="http://127.0.0.1:9")
    assert retried(settings, work) == "done" and len(tries) == 3
    with pytest.raises(Unavailable), tracking_server(settings):
        raise MlflowException("database is locked")
