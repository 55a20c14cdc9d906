"""Runs stages in worker processes through Dagster Pipes: forked where that is safe, else started."""

import functools
import json
import os
import socket
import subprocess
import sys
from pathlib import Path
from typing import Any

import dagster as dg
from dagster._core.errors import DagsterPipesExecutionError
from dagster._core.pipes.client import PipesClientCompletedInvocation

from supply_chain.settings import PROJECT

_PATIENCE = 20.0
"""Seconds that an interrupted worker has to end, as `PipesSubprocessClient` gives it."""
_DRIVERS = (Path("/dev/nvidiactl"), Path("/dev/kfd"))


class WorkerClient(dg.PipesClient):
    """One worker process a call; with `fork` it is spared the imports of torch and transformers, some seconds."""

    def run(  # type: ignore[override]
        self,
        *,
        context: dg.OpExecutionContext | dg.AssetExecutionContext,
        extras: dict[str, Any],
        env: dict[str, str],
        fork: bool = False,
    ) -> PipesClientCompletedInvocation:
        """Raises DagsterPipesExecutionError when the worker ends with another code than 0."""
        if not (fork and _safe()):
            client = dg.PipesSubprocessClient()
            command = [sys.executable, "-m", "assets.worker"]
            return client.run(context=context, command=command, cwd=str(PROJECT), env=env, extras=extras)
        with dg.open_pipes_session(
            context=context,
            context_injector=dg.PipesTempFileContextInjector(),
            message_reader=dg.PipesTempFileMessageReader(),
            extras=extras,
        ) as session:
            code = fork_server().perform({**os.environ, **env, **session.get_bootstrap_env_vars()})
        if code != 0:
            raise DagsterPipesExecutionError(f"External execution process failed with code {code}")
        return PipesClientCompletedInvocation(session)


class ForkServer:
    """The other end of `assets.fork_server`; it ends with this process."""

    def __init__(self) -> None:
        self.line, other = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        with other:
            self.process = subprocess.Popen(  # noqa: S603
                [sys.executable, "-m", "assets.fork_server", str(other.fileno())],
                cwd=PROJECT,
                env={**os.environ, "HF_HUB_OFFLINE": "1"},
                stdin=subprocess.DEVNULL,
                pass_fds=[other.fileno()],
            )

    def perform(self, env: dict[str, str]) -> int:
        """A worker's exit code, negative for the signal that ended it. Raises what interrupts it, when that is done."""
        try:
            socket.send_fds(self.line, [json.dumps(env).encode()], [1, 2])
            return int(self.line.recv(64))
        except BaseException as error:  # a person's interrupt, or a server that was killed
            self._stop()
            if isinstance(error, (OSError, ValueError)):
                raise DagsterPipesExecutionError("the process that starts workers has ended") from None
            raise

    def _stop(self) -> None:
        self.process.terminate()
        self.line.shutdown(socket.SHUT_WR)
        try:
            self.process.wait(_PATIENCE)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
        self.line.close()
        fork_server.cache_clear()


@functools.cache
def fork_server() -> ForkServer:
    """This process's own; another one after it was stopped or killed."""
    return ForkServer()


def _safe() -> bool:
    """Whether a process may fork that has loaded these libraries."""
    return sys.platform == "linux" and not any(driver.exists() for driver in _DRIVERS)
