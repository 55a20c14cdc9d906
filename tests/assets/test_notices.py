"""People are told, by real servers, that a run failed and that another version serves; at least once, each."""

import json
import socket
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import dagster as dg
import pytest

from assets.definitions import build
from assets.project import Project
from registry.decisions import Act, Log, Moved
from registry.delivery import SIGNATURE, digest_of
from registry.fleet import Fleet
from supply_chain.errors import Unavailable
from tests.assets.conftest import load

NOTICES = """
notices:
  webhook: {url_env: HOOK_URL, secret_env: HOOK_SECRET}
  email: {to: [ops@example.org], sender: chain@example.org, server_env: MAIL_SERVER, tls: none}
"""


class Hook(BaseHTTPRequestHandler):
    """Keeps what it is told, or refuses it."""

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        self.server.told.append((body, self.headers[SIGNATURE]))  # type: ignore[attr-defined]
        self.send_response(self.server.status)  # type: ignore[attr-defined]
        self.end_headers()

    def log_message(self, *args: object) -> None:
        pass


@pytest.fixture
def hook(monkeypatch: pytest.MonkeyPatch) -> Iterator[HTTPServer]:
    server = HTTPServer(("127.0.0.1", 0), Hook)
    server.told, server.status = [], 204  # type: ignore[attr-defined]
    threading.Thread(target=server.serve_forever, daemon=True).start()
    monkeypatch.setenv("HOOK_URL", f"http://127.0.0.1:{server.server_port}/hook")
    monkeypatch.setenv("HOOK_SECRET", "s3cret")
    yield server
    server.shutdown()
    server.server_close()


@pytest.fixture
def mails(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[str]]:
    """A mail server that speaks enough SMTP; the messages it took."""
    taken: list[str] = []
    listening = socket.create_server(("127.0.0.1", 0))

    def talk(connection: socket.socket) -> None:
        with connection, connection.makefile("rwb", buffering=0) as file:
            file.write(b"220 tests\r\n")
            while line := file.readline():
                word = line[:4].upper().strip()
                if word == b"DATA":
                    file.write(b"354 go on\r\n")
                    text = b""
                    while (line := file.readline()) != b".\r\n":
                        text += line
                    taken.append(text.decode())
                file.write(b"221 bye\r\n" if word == b"QUIT" else b"250 ok\r\n")
                if word == b"QUIT":
                    return

    def serve() -> None:
        while True:
            try:
                talk(listening.accept()[0])
            except OSError:
                return

    threading.Thread(target=serve, daemon=True).start()
    monkeypatch.setenv("MAIL_SERVER", f"127.0.0.1:{listening.getsockname()[1]}")
    yield taken
    listening.close()


def tick(project: Project, instance: dg.DagsterInstance, cursor: str | None) -> str | None:
    """One look of the sensor; the new cursor."""
    repository = build(project).get_repository_def()
    with dg.build_sensor_context(instance=instance, repository_def=repository, cursor=cursor) as context:
        repository.get_sensor_def("notices")(context)
        return context.cursor


def test_failures_and_champions_are_told_once(project: Project, hook: HTTPServer, mails: list[str]) -> None:
    fleet = project.settings.recipes / "fleet.yaml"
    fleet.write_text(fleet.read_text() + NOTICES)
    project = Project(project.settings)
    log = Log(project.settings.home)
    moved = Moved(action="promote", model="tiny_reviews", version=1, replaced=None)
    log.append(moved, Act("ada", "old news"))
    (project.settings.root / "data/tiny_reviews.csv").write_text("text,label,review\n")
    load(project)
    with dg.DagsterInstance.get() as instance:
        cursor = tick(project, instance, None)
        assert hook.told == [] and mails == [], "the past is no news"
        job = build(project).resolve_implicit_global_asset_job_def()
        key = dg.AssetKey(["tiny_reviews", "curated_data"])
        run = job.execute_in_process(instance=instance, asset_selection=[key], raise_on_error=False)
        log.append(moved.model_copy(update={"version": 2, "replaced": 1}), Act("bob", "better\r\nBcc: x@evil.example"))
        hook.status = 500
        with pytest.raises(Unavailable, match=r"webhook: HTTP Error 500"):
            tick(project, instance, cursor)
        hook.told.clear()
        mails.clear()
        hook.status = 204
        cursor = tick(project, instance, cursor)
        assert cursor == tick(project, instance, cursor) or len(hook.told) == 2, "nothing is told twice"
    bodies = [json.loads(body) for body, _ in hook.told]
    assert [(b["kind"], b["subject"]) for b in bodies] == [
        ("champion", "promoted tiny_reviews version 2 in place of version 1"), ("failure", "tiny_reviews failed"),
    ]  # fmt: skip
    assert bodies[1]["id"] == run.run_id and bodies[1]["text"].startswith("curated_data: data/tiny_reviews.csv")
    assert all(signature == digest_of(body, b"s3cret") for body, signature in hook.told)
    assert len(mails) == 2
    head, _, text = mails[0].partition("\r\n\r\n")
    assert "Subject: [tests] promoted tiny_reviews version 2" in head and "To: ops@example.org" in head
    assert "Bcc" not in head and "bob: better" in text


def test_a_policy_that_tells_nobody_is_a_fault() -> None:
    with pytest.raises(ValueError, match="names nobody to tell"):
        Fleet.model_validate(
            {"name": "f1", "fallback": {"name": "g1", "url_env": "G", "usd_per_1k_requests": 1}, "notices": {}}
        )


def test_without_a_policy_there_is_no_sensor(project: Project, tmp_path: Path) -> None:
    assert "notices" not in {sensor.name for sensor in build(project).sensors}
