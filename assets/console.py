"""A run as a person at a terminal wants to follow it: one line when a step starts, one when it ends."""

import logging
import signal
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from typing import Any

import dagster as dg

_DAGSTERS = ("[pipes]", "Dependencies for step")
"""Messages that Dagster adds to those of an asset, and that tell a person at a terminal nothing."""
_STARTED, _DONE, _FAILED = "STEP_START", "STEP_SUCCESS", "STEP_FAILURE"


class StepLines(logging.Handler):
    """Writes steps and our own messages; Dagster's other events are in the UI."""

    def __init__(self) -> None:
        super().__init__(logging.DEBUG)
        self.began: dict[str, float] = {}

    def emit(self, record: logging.LogRecord) -> None:
        """Writes one line for a step's start and end, and for each message of an asset."""
        meta = getattr(record, "dagster_meta", {})
        event, step = meta.get("dagster_event"), str(meta.get("step_key") or "").replace("__", "/")
        if event is None and record.levelno >= logging.INFO:
            said = str(meta.get("orig_message", record.getMessage()))
            if not said.startswith(_DAGSTERS):
                self._write(f"    {said}")
        elif event is None:
            return
        elif event.event_type_value == _STARTED:
            self.began[step] = time.monotonic()
            self._write(f"▸ {step}")
        elif event.event_type_value in (_DONE, _FAILED):
            mark = "✓" if event.event_type_value == _DONE else "✗"
            self._write(f"{mark} {step} ({time.monotonic() - self.began.get(step, time.monotonic()):.1f} s)")

    def _write(self, line: str) -> None:
        sys.stderr.write(line + "\n")
        sys.stderr.flush()


@dg.logger(None, description="One line a step.")
def console_logger(context: dg.InitLoggerContext) -> logging.Logger:
    """The logger that the definitions use instead of Dagster's own."""
    logger = logging.Logger("supply_chain.run", logging.DEBUG)  # a step's start is a debug event
    logger.addHandler(StepLines())
    return logger


def spare_mirrors(instance: dg.DagsterInstance) -> None:
    """Keeps Ctrl-C from the processes through which Dagster shows a step's output: they end with it, and silently."""
    capture = instance.compute_log_manager.capture_logs

    @contextmanager
    def captured(*args: Any) -> Iterator[Any]:
        with ExitStack() as stack:
            before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})  # they inherit this
            try:
                context = stack.enter_context(capture(*args))
            finally:
                signal.pthread_sigmask(signal.SIG_SETMASK, before)
            yield context

    setattr(instance.compute_log_manager, "capture_logs", captured)  # noqa: B010 (mypy: a method)
