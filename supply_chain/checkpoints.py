"""Checkpoints that survive `kill -9`: only those with a completion mark count."""

import json
import shutil
import time
from pathlib import Path

from transformers import TrainerCallback, TrainerControl, TrainerState, TrainingArguments

from supply_chain.store import write_atomically
from supply_chain.together import leads, wait

MARK = "complete.json"


def last_checkpoint(folder: Path) -> Path | None:
    """The newest whole checkpoint in `folder`; half-written ones are removed."""
    whole = []
    for path in folder.glob("checkpoint-*"):
        if (path / MARK).exists():
            whole.append(path)
        else:
            shutil.rmtree(path)
    return max(whole, key=lambda p: int(p.name.rpartition("-")[2]), default=None)


def seconds_before(checkpoint: Path | None) -> float:
    """Training time (s) that had passed when `checkpoint` was written."""
    return float(json.loads((checkpoint / MARK).read_text())["seconds"]) if checkpoint else 0.0


class MarkWhole(TrainerCallback):
    """Marks a checkpoint once the trainer has written all of it."""

    def __init__(self, seconds: float):
        self.started = time.perf_counter() - seconds

    @property
    def seconds(self) -> float:
        """Training time (s), earlier attempts included."""
        return time.perf_counter() - self.started

    def on_save(self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: object) -> None:
        """Called by the trainer after its last file is written."""
        wait()  # each process writes the state of its own generators
        if not leads():
            return
        folder = Path(args.output_dir) / f"checkpoint-{state.global_step}"
        write_atomically(folder / MARK, json.dumps({"seconds": self.seconds}))
