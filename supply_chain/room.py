"""Memory and disk: asked for before training starts, and made do with when they run out."""

import json
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError

from supply_chain.errors import CannotTrain, Unavailable
from supply_chain.store import write_atomically

_CHECKPOINTS = 3
"""Two are kept, and a third is written before the oldest goes."""
_SPARE = 64 << 20
_SHORTAGES = ("allocate memory", "could not create a primitive", "could not create a memory object")
"""What torch and oneDNN say when memory runs out; oneDNN does not name it."""


class MemoryRanOut(Exception):
    """A step did not fit; the next attempt takes fewer rows at once."""


def check_disk(model: Any, adapter: bool, more_bytes: int, work: Path) -> None:
    """Raises Unavailable when checkpoints, the result and `more_bytes` would not fit on the disk of `work`."""
    learning = sum(p.numel() for p in model.parameters() if p.requires_grad)
    saved = learning if adapter else sum(p.numel() for p in model.parameters())
    needed = _CHECKPOINTS * (4 * saved + 8 * learning) + 4 * saved + more_bytes + _SPARE
    free = shutil.disk_usage(work).free
    if free < needed:
        raise Unavailable(
            f"training needs {needed / 1e9:.2f} GB of disk for its checkpoints, {work} has {free / 1e9:.2f} GB free: "
            "make room, or set SUPPLY_CHAIN_HOME to another disk"
        )


@contextmanager
def explained_shortage(work: Path) -> Iterator[None]:
    """Turns what libraries raise for a lack of memory or disk into MemoryRanOut and Unavailable."""
    try:
        yield
    except MemoryError as error:
        raise MemoryRanOut(str(error)) from error
    except (OSError, RuntimeError, SafetensorError) as error:
        if isinstance(error, torch.OutOfMemoryError) or any(words in str(error) for words in _SHORTAGES):
            raise MemoryRanOut(str(error)) from error
        if "No space left" in str(error) or shutil.disk_usage(work).free < 1 << 20:
            raise Unavailable(
                f"the disk of {work} is full. Whole checkpoints are kept: make room and run the same command again."
            ) from error
        raise


def micro_batch(work: Path, batch: int) -> int:
    """Rows to take at once: the whole batch, or what an earlier attempt settled on."""
    path = work / "micro_batch.json"
    return int(json.loads(path.read_text())) if path.exists() else batch


def take_fewer(work: Path, batch: int, rows: int) -> int:
    """The next smaller divisor of the batch, at most half of `rows`. Raises CannotTrain at one row."""
    if rows == 1:
        raise CannotTrain(
            "out of memory with one row at a time: lower train.max_tokens or train.lora.rank, train fewer layers "
            "(train.top_layers), or use a smaller base model"
        )
    fewer = max(n for n in range(1, rows // 2 + 1) if batch % n == 0)
    write_atomically(work / "micro_batch.json", json.dumps(fewer))
    return fewer
