"""Starts workers without their imports: `python -m assets.fork_server FD`.

`multiprocessing`'s fork server would import the caller's main module, so Dagster, into every worker and would not hand
over the streams that Dagster captures.

A process that has imported what a model needs, and computed nothing with it, forks one worker for each message on the
socket FD: a worker's environment as JSON, with its standard output and error. It answers with the worker's exit code.
Linux only, and not beside a GPU, whose driver does not survive a fork.
"""

import importlib
import json
import os
import signal
import socket
import sys

from assets import worker
from supply_chain.parent import die_with_parent

_NEEDED = ("evals.answering", "evals.harness", "supply_chain.inference", "transformers.models.llama.modeling_llama")
"""What every model's process imports; more would count as memory of models that do without."""
_LONGEST = 1 << 20


def main() -> None:
    """Forks until the other end of the socket is closed; SIGTERM interrupts the worker."""
    die_with_parent()
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for the workers
    worker.quiet()
    for name in _NEEDED:
        importlib.import_module(name)
    line = socket.socket(fileno=int(sys.argv[1]))
    while True:
        message, streams, _, _ = socket.recv_fds(line, _LONGEST, 2)
        if not message:
            return
        pid = os.fork()
        if pid == 0:
            line.close()
            _become_worker(message, streams)
            return worker.main()
        signal.signal(signal.SIGTERM, lambda *_, pid=pid: os.kill(pid, signal.SIGINT))
        for stream in streams:
            os.close(stream)
        _, status = os.waitpid(pid, 0)
        signal.signal(signal.SIGTERM, signal.SIG_DFL)
        line.send(str(os.waitstatus_to_exitcode(status)).encode())


def _become_worker(message: bytes, streams: list[int]) -> None:
    signal.signal(signal.SIGINT, worker.stop)
    for number, stream in enumerate(streams, start=1):
        os.dup2(stream, number)
        os.close(stream)
    os.environ.clear()
    os.environ.update(json.loads(message))


if __name__ == "__main__":
    main()
