"""Runs a stage of a job in a process of its own, which tests may kill.

Processes are forked from a server that has imported everything, so that a kill falls on work and not on imports.
"""

import multiprocessing
import os
import resource
from multiprocessing.context import ForkServerProcess
from pathlib import Path

from supply_chain.job import Job
from supply_chain.job_file import read_job, write_job
from supply_chain.search import search
from supply_chain.tracking import NoTracker
from supply_chain.training import train

SPARE_BYTES = 800 << 20


def start(stage: str, job: Job, folder: Path) -> ForkServerProcess:
    """Begins `train`, `train_with_little_memory` or `search`. What it prints is in `folder`, as `said`."""
    write_job(job, folder / "job.json")
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload([__name__])
    process = context.Process(target=run, args=(stage, folder))
    process.start()
    return process


def run(stage: str, folder: Path) -> None:
    os.environ["TQDM_DISABLE"] = "1"
    said = os.open(folder / "said", os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
    os.dup2(said, 1)
    os.dup2(said, 2)
    {"train": _train, "train_with_little_memory": _train_with_little_memory, "search": _search}[stage](
        read_job(folder / "job.json"), folder
    )


def _train(job: Job, folder: Path) -> None:
    train(job, lambda key: NoTracker())


def _train_with_little_memory(job: Job, folder: Path) -> None:
    def limited(key: str) -> NoTracker:
        pages = int(Path("/proc/self/statm").read_text().split()[0])
        allowed = pages * resource.getpagesize() + SPARE_BYTES
        resource.setrlimit(resource.RLIMIT_AS, (allowed, allowed))
        return NoTracker()

    record = train(job, limited).record
    (folder / "record.json").write_text(record.model_dump_json())


def _search(job: Job, folder: Path) -> None:
    search(job, lambda key, stage, parent: NoTracker())
