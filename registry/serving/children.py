"""Processes that end with this one, however it ends."""

import os
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import NoReturn

from supply_chain.errors import InvalidInput, Unavailable
from supply_chain.settings import PROJECT

_POLL_S, _GRACE_S, _START_S = 0.2, 10.0, 900.0
_TOLD = 2000
HERE = "127.0.0.1"
_DIRECT = urllib.request.build_opener(urllib.request.ProxyHandler({}))


class Children:
    """Started one by one, stopped together in reverse order; each writes to `folder / NAME.log`."""

    def __init__(self, folder: Path):
        self.folder = folder
        self.running: dict[str, subprocess.Popen[bytes]] = {}

    def start(self, name: str, command: Sequence[str], environment: Mapping[str, str]) -> None:
        """Starts a process in a group of its own: a Ctrl-C reaches this process alone, which then stops it."""
        held = [sys.executable, "-m", "supply_chain.parent", *command]
        with (self.folder / f"{name}.log").open("wb") as log:
            self.running[name] = subprocess.Popen(  # noqa: S603
                held,
                cwd=PROJECT,
                env={**os.environ, **environment},
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )

    def ready(self, name: str, url: str, seconds: float = _START_S) -> None:
        """Waits until `url` answers. Raises Unavailable with the end of the log when the process ends, or is too late.

        LiteLLM imports for a minute, for several on a busy machine.
        """
        until = time.monotonic() + seconds
        while not _answers(url):
            self.check()
            if time.monotonic() > until:
                raise Unavailable(f"{name} did not answer at {url} within {seconds:.0f} s: {self._said(name)}")
            time.sleep(_POLL_S)

    def check(self) -> None:
        """Raises Unavailable when one of them has ended."""
        for name, process in self.running.items():
            if process.poll() is not None:
                raise Unavailable(f"{name} ended with exit code {process.returncode}: {self._said(name)}")

    def watch(self) -> NoReturn:
        """Waits for ever; raises what `check` raises."""
        while True:
            self.check()
            time.sleep(_POLL_S)

    def stop(self) -> None:
        """Asks each group to end, and ends what has not after 10 seconds."""
        for name in reversed(list(self.running)):
            process = self.running.pop(name)
            _signal(process, signal.SIGTERM)
            try:
                process.wait(_GRACE_S)
            except subprocess.TimeoutExpired:
                pass
            finally:
                _signal(process, signal.SIGKILL)
                process.wait()

    def __enter__(self) -> "Children":
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.stop()

    def _said(self, name: str) -> str:
        told = (self.folder / f"{name}.log").read_text(encoding="utf-8", errors="replace").strip()
        return f"…\n{told[-_TOLD:]}" if told else "it said nothing"


def free_port(wanted: int | None = None) -> int:
    """A port of the loopback that nobody uses: `wanted`, or any. Raises InvalidInput when it is taken."""
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((HERE, wanted or 0))
        except OSError as error:
            raise InvalidInput(
                f"port {wanted} cannot be used ({error.strerror}): name another one with --port"
            ) from None
        return int(probe.getsockname()[1])


def _signal(process: "subprocess.Popen[bytes]", number: int) -> None:
    try:
        os.killpg(process.pid, number)
    except ProcessLookupError:
        return  # the whole group has ended


def _answers(url: str) -> bool:
    try:
        with _DIRECT.open(url, timeout=2) as reply:
            return bool(reply.status == 200)
    except urllib.error.HTTPError:
        return False
    except OSError:
        return False
