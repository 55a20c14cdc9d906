"""Runs work in a child that kills itself with SIGKILL at its n-th write to disk or database.

`python -m tests.registry.killing WORK HOME POINT…` tries `WORK(HOME)` once for each point (0: not
killed) and prints how every attempt ended, and the number of writes of those that were not killed.
"""

import importlib
import os
import signal
import sys
from pathlib import Path

from sqlalchemy import event
from sqlalchemy.engine import Engine

_FILE_EVENTS = {"os.rename", "os.mkdir", "os.remove", "shutil.copyfile", "shutil.copytree", "shutil.rmtree"}


class Killer:
    """Counts writes; at number `point` the process dies."""

    def __init__(self, point: int):
        self.point, self.count = point, 0
        event.listen(Engine, "before_cursor_execute", self.statement)
        event.listen(Engine, "commit", lambda connection: self.tick())
        sys.addaudithook(self.audit)

    def tick(self) -> None:
        self.count += 1
        if self.count == self.point:
            os.kill(os.getpid(), signal.SIGKILL)

    def statement(self, connection, cursor, statement, parameters, context, many) -> None:
        if not statement.lstrip().upper().startswith(("SELECT", "PRAGMA")):
            self.tick()

    def audit(self, name: str, arguments: tuple) -> None:
        if name in _FILE_EVENTS or (name == "open" and isinstance(arguments[2], int) and arguments[2] & os.O_CREAT):
            self.tick()


def attempt(work, home: Path, point: int) -> str:
    """How one attempt ended."""
    child = os.fork()
    if child == 0:
        killer = Killer(point)
        try:
            work(home)
            print("done", killer.count, flush=True)
            os._exit(0)
        except BaseException as error:  # noqa: BLE001 (the parent reports it)
            print("failed", repr(error), flush=True)
            os._exit(1)
    _, status = os.waitpid(child, 0)
    return "killed" if os.WIFSIGNALED(status) else ""


if __name__ == "__main__":
    module, _, function = sys.argv[1].partition(":")
    action = getattr(importlib.import_module(module), function)
    for number in map(int, sys.argv[3:]):
        ended = attempt(action, Path(sys.argv[2]), number)
        if ended:
            print(ended, flush=True)
