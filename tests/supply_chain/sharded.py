"""Trains jobs in processes that share their weights out, on CPUs: `torchrun -m tests.supply_chain.sharded FOLDER…`.

Accelerate shards on GPUs alone. So that all else is what runs on GPUs, it is told here that these are some: the weights
lie on the CPU, and gloo gathers them.
"""

import os
import sys
from pathlib import Path

import torch.distributed as dist
from accelerate import PartialState
from accelerate.utils import DistributedType

from supply_chain.job_file import read_job
from supply_chain.processes import JOB
from supply_chain.together import leads, wait
from supply_chain.tracking import NoTracker
from supply_chain.training import train_here


def main(folders: list[Path]) -> None:
    """Each folder holds `work` with a job, and gets what is learned in `made`."""
    dist.init_process_group("gloo")
    os.environ["ACCELERATE_TORCH_DEVICE"] = "cpu"
    PartialState._prepare_backend = lambda *_: ("gloo", DistributedType.MULTI_GPU)
    for folder in folders:
        record = train_here(read_job(folder / "work" / JOB), folder / "work", folder / "made", NoTracker())
        wait()
        if leads():
            (folder / "made/record.json").write_text(record.model_dump_json())
    dist.destroy_process_group()


if __name__ == "__main__":
    main([Path(folder) for folder in sys.argv[1:]])
