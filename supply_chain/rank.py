"""One of several processes that train a model: `python -m supply_chain.rank COUNT WORK FOLDER RUN` starts them all."""

import json
import os
import sys
from datetime import timedelta
from pathlib import Path

from supply_chain.parent import die_with_parent


def main(count: str, work: str, folder: str, run: str) -> None:
    """Starts the processes through torchrun, or trains if this is one of them."""
    die_with_parent()
    if "RANK" in os.environ:
        _train(Path(work), Path(folder), run or None)
        return
    from torch.distributed.run import main as torchrun  # noqa: PLC0415

    here = ["--standalone", "--local-addr", "127.0.0.1", "--nproc-per-node", count]
    torchrun([*here, "-m", "supply_chain.rank", count, work, folder, run])


class _Reporting:
    """A tracker that reports to the process that started the group."""

    def __init__(self, path: Path, run_id: str | None):
        self.path, self.run_id = path, run_id

    def report(self, **told: object) -> None:
        line = (json.dumps(told) + "\n").encode()
        descriptor = os.open(self.path, os.O_WRONLY | os.O_APPEND | os.O_CREAT)
        try:
            os.write(descriptor, line)
        finally:
            os.close(descriptor)

    def params(self, values: dict[str, object]) -> None:
        self.report(params={name: str(value) for name, value in values.items()})

    def metrics(self, values: dict[str, float], step: int) -> None:
        self.report(metrics=values, step=step)

    def finished(self) -> None:
        """The starting process finishes the run."""


def _train(work: Path, folder: Path, run: str | None) -> None:
    from accelerate import PartialState  # noqa: PLC0415

    from supply_chain.compute import scoring_compute  # noqa: PLC0415
    from supply_chain.errors import SupplyChainError  # noqa: PLC0415
    from supply_chain.job_file import read_job  # noqa: PLC0415
    from supply_chain.processes import JOB, REPORTS  # noqa: PLC0415
    from supply_chain.room import MemoryRanOut  # noqa: PLC0415
    from supply_chain.together import leads, wait  # noqa: PLC0415
    from supply_chain.tracking import NoTracker  # noqa: PLC0415
    from supply_chain.training import train_here  # noqa: PLC0415

    reporting = _Reporting(work / REPORTS, run)
    try:
        job = read_job(work / JOB)
        patience = timedelta(days=7)  # the others wait while the leading one asks a teacher or measures
        state = PartialState(cpu=scoring_compute(job.settings).device == "cpu", timeout=patience)
        record = train_here(job, work, folder, reporting if leads() else NoTracker())
        wait()
    except SupplyChainError as error:
        reporting.report(error=type(error).__name__, message=str(error))  # the starting process ends the others
    except MemoryRanOut as shortage:
        reporting.report(fewer=str(shortage))
    else:
        if leads():
            reporting.report(record=record.model_dump(mode="json"))
        state.destroy_process_group()


if __name__ == "__main__":
    main(*sys.argv[1:])
