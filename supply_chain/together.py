"""What several processes that train one model must agree on. Alone, each of these does nothing.

Every step takes the rows that one process would take: they are dealt out row by row, and the gradients are
those of the whole batch (DistributedDataParallel, Li et al. 2020, arXiv:2006.15704).
"""

from collections.abc import Callable, Iterator, Sized
from contextlib import contextmanager
from typing import Any, TypeVar

import torch.distributed as dist
from datasets import Dataset, concatenate_datasets
from torch.utils.data import DataLoader, Sampler
from transformers.trainer_pt_utils import LengthGroupedSampler

T = TypeVar("T")


def alone() -> bool:
    """Whether this process trains by itself."""
    return not (dist.is_available() and dist.is_initialized())


def processes() -> int:
    """How many train together."""
    return 1 if alone() else dist.get_world_size()


def leads() -> bool:
    """Whether this process is the one that writes."""
    return alone() or dist.get_rank() == 0


def wait() -> None:
    """Goes on when all processes are here."""
    if not alone():
        dist.barrier()


def agreed(value: T) -> T:
    """The leading process's value."""
    if alone():
        return value
    told = [value]
    dist.broadcast_object_list(told, src=0)
    return told[0]


@contextmanager
def leader_first() -> Iterator[None]:
    """The leading process does it; the others do it after that, and find it done."""
    if not leads():
        wait()
    yield
    if leads():
        wait()


def through(wrapper: Any, module: Any, step: Callable[..., T], *args: Any) -> T:
    """Runs `step` as `module`'s forward pass below `wrapper`, which so learns which gradients to share."""
    before = module.__dict__.get("forward")

    def forward(*given: Any) -> T:
        _put_back(module, before)
        return step(*given)

    module.forward = forward
    try:
        return wrapper(*args)
    finally:
        _put_back(module, before)


def shared_loader(
    rows: Dataset, collate: Callable[..., Any], at_once: int, parts: int, kept: Callable[[Any], Any]
) -> DataLoader:
    """This process's share of every step: `parts` micro-batches of `at_once` rows.

    Rows come in the order that a single process with the same whole batch takes them in; `kept` makes it last.
    """
    batch = at_once * parts * dist.get_world_size()
    order = kept(LengthGroupedSampler(batch, dataset=rows, lengths=rows["length"]))
    nothing = {**rows[0], "labels": _ignored(rows[0]["labels"])}
    padded = concatenate_datasets([rows, Dataset.from_list([nothing], features=rows.features)])
    return DataLoader(padded, batch_sampler=_Shares(order, batch, at_once, len(rows)), collate_fn=collate)


class _Shares(Sampler[list[int]]):
    """Micro-batches of one process. All have as many: where rows run out, one with the row that says nothing."""

    def __init__(self, order: Any, batch: int, at_once: int, nothing: int):
        self.order, self.batch, self.at_once, self.nothing = order, batch, at_once, nothing
        self.rank, self.world = dist.get_rank(), dist.get_world_size()

    def __iter__(self) -> Iterator[list[int]]:
        with leader_first():  # the others' generators may have been used otherwise: the order is the leader's
            order = list(self.order)
        rows = agreed(order)
        for start in range(0, len(rows), self.batch):
            step = rows[start : start + self.batch]
            mine = step[self.rank :: self.world]
            for part in range(self._parts(len(step))):
                yield mine[part * self.at_once : (part + 1) * self.at_once] or [self.nothing]

    def __len__(self) -> int:
        order: Sized = self.order
        whole, rest = divmod(len(order), self.batch)
        return whole * self._parts(self.batch) + self._parts(rest)

    def _parts(self, rows: int) -> int:
        return -(-rows // (self.world * self.at_once))


def _ignored(labels: int | list[int]) -> int | list[int]:
    return -100 if isinstance(labels, int) else [-100] * len(labels)


def _put_back(module: Any, forward: Any) -> None:
    if forward is not None:
        module.forward = forward
    else:
        module.__dict__.pop("forward", None)
