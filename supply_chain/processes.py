"""Starts several processes that train one model (torchrun, Accelerate, DDP), and tells what they report.

They report as lines of JSON in one file beside the checkpoints. If one of them fails or is killed, all end, and
the training goes on from its last checkpoint when it is started again.
"""

import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from supply_chain import errors
from supply_chain.errors import InvalidInput, SupplyChainError
from supply_chain.job import Job
from supply_chain.job_file import write_job
from supply_chain.recipe.distill import DistillTrain, OnPolicyObjective
from supply_chain.recipe.preference import PreferenceTrain
from supply_chain.recipe.schema import Train
from supply_chain.records import Trained
from supply_chain.settings import PROJECT, Settings
from supply_chain.sharding import ENVIRONMENT as SHARDING
from supply_chain.tracking import Tracker

JOB, REPORTS = "together.json", "reports.jsonl"
_POLL_S = 0.05


def train_together(job: Job, work: Path, folder: Path, tracker: Tracker) -> Trained:
    """Trains in `settings.processes` processes; the result is written to `folder`.

    Raises InvalidInput for a batch that cannot be dealt out evenly, and what the processes raise.
    """
    count, batch = job.settings.processes, job.recipe.train.batch_size
    if alone := _alone(job.recipe.train):
        raise InvalidInput(f"{alone} trains in one process: run it with SUPPLY_CHAIN_PROCESSES=1")
    if batch % count:
        raise InvalidInput(
            f"train.batch_size is {batch}, which {count} processes cannot share evenly: make it a multiple of {count}, "
            "or set SUPPLY_CHAIN_PROCESSES otherwise"
        )
    write_job(job, work / JOB)
    while True:
        record = _attempt(job.settings, work, folder, tracker)
        if record is not None:
            return record


def _alone(train: Train) -> str | None:
    """What of it does not train in several processes."""
    if isinstance(train, PreferenceTrain):
        return "train.method preference"
    on_policy = isinstance(train, DistillTrain) and isinstance(train.objective, OnPolicyObjective)
    return "train.objective on_policy" if on_policy else None


def _attempt(settings: Settings, work: Path, folder: Path, tracker: Tracker) -> Trained | None:
    """The record, or None when memory ran out and fewer rows are to be taken at once."""
    (work / REPORTS).unlink(missing_ok=True)
    record: Trained | None = None
    with _group(settings, work, folder, tracker) as process:
        for report in _reports(work / REPORTS, process):
            match report:
                case {"record": told}:
                    record = Trained.model_validate(told)
                case {"error": name, "message": message}:
                    raise getattr(errors, name)(message)
                case {"fewer": _}:
                    return None
                case {"params": values}:
                    tracker.params(values)
                case {"metrics": values, "step": step}:
                    tracker.metrics(values, step)
    if record is None or process.returncode:
        raise SupplyChainError(
            f"training in {settings.processes} processes ended before it was done (exit code {process.returncode}). "
            "Killed by the system, they most likely ran out of memory: lower train.batch_size or "
            "SUPPLY_CHAIN_PROCESSES. Whole checkpoints are kept: run again to go on."
        )
    tracker.finished()
    return record


@contextmanager
def _group(settings: Settings, work: Path, folder: Path, tracker: Tracker) -> Iterator["subprocess.Popen[bytes]"]:
    told = [str(settings.processes), str(work), str(folder), tracker.run_id or ""]
    environment = {**os.environ, "OMP_NUM_THREADS": "1", **(SHARDING if settings.sharded else {})}
    process = subprocess.Popen([sys.executable, "-m", "supply_chain.rank", *told], cwd=PROJECT, env=environment)  # noqa: S603
    try:
        yield process
    finally:
        process.kill()  # its processes end with it
        process.wait()


def _reports(path: Path, process: "subprocess.Popen[bytes]") -> Iterator[dict[str, Any]]:
    """Whole lines as they come, until the processes have ended."""
    place, rest = 0, b""
    while True:
        ended = process.poll() is not None
        if path.exists():
            with path.open("rb") as file:
                file.seek(place)
                *lines, rest = (rest + file.read()).split(b"\n")
                place = file.tell()
            yield from (json.loads(line) for line in lines)
        if ended:
            return
        time.sleep(_POLL_S)
