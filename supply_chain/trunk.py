"""States of the frozen layers, computed once and read again in every epoch.

When only the last layers learn, what the layers below make of a row never changes. It is kept in one
file beside the checkpoints, so that an epoch costs the learning layers alone.
"""

import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from datasets import Dataset

from supply_chain.errors import InvalidInput
from supply_chain.records import Compute
from supply_chain.trainable import Trainable

FILE = "states.npy"
_BATCH_TOKENS = 2048


@dataclass(frozen=True)
class States:
    """States [tokens, hidden] of all rows one after the other; row i is `starts[i]` to `starts[i + 1]`."""

    path: Path
    starts: np.ndarray
    dtype: torch.dtype

    def row(self, index: int) -> torch.Tensor:
        """One row's states: [tokens, hidden]."""
        kept = np.load(self.path, mmap_mode="r")[self.starts[index] : self.starts[index + 1]]
        return torch.from_numpy(np.array(kept)).view(self.dtype)


def states_of(trainable: Trainable, rows: Dataset, compute: Compute, work: Path) -> States:
    """The frozen part's states for `rows`, from the file in `work` if an earlier attempt wrote it.

    When no layer learns at all and a head answers, only each row's last token is kept. Raises
    InvalidInput for a model whose layers cannot be run in two halves.
    """
    ids: list[list[int]] = rows["input_ids"]
    whole_row = getattr(trainable.model.config, "pooling", "last") == "mean"
    last_only = trainable.head and not len(trainable.decoder.layers) and not whole_row
    starts = np.concatenate([[0], np.cumsum([1 if last_only else len(row) for row in ids])])
    dtype = torch.bfloat16 if compute.dtype == "bfloat16" else torch.float32
    kept = States(work / FILE, starts, dtype)
    _check_halves(trainable, ids[0], compute)
    if kept.path.exists():
        return kept
    draft = work / f".{FILE}"
    shape = (int(starts[-1]), int(trainable.model.config.hidden_size))
    number = np.int16 if dtype == torch.bfloat16 else np.float32
    file = np.lib.format.open_memmap(draft, mode="w+", dtype=number, shape=shape)
    for batch in by_length(ids):
        found = run(trainable.below, [ids[i] for i in batch], compute)
        for i, states in zip(batch, found, strict=True):
            wanted = states[-1:].to(dtype) if last_only else states.to(dtype)
            file[starts[i] : starts[i + 1]] = wanted.cpu().view(torch.int16 if number is np.int16 else dtype)
    file.flush()
    os.replace(draft, kept.path)
    return kept


def by_length(ids: Sequence[Sequence[int]]) -> list[list[int]]:
    """Indices in batches of like lengths, at most `_BATCH_TOKENS` tokens each (or one row)."""
    batches: list[list[int]] = []
    for i in sorted(range(len(ids)), key=lambda i: len(ids[i])):
        if batches and (len(batches[-1]) + 1) * len(ids[i]) <= _BATCH_TOKENS:
            batches[-1].append(i)
        else:
            batches.append([i])
    return batches


def run(decoder: Any, ids: Sequence[Sequence[int]], compute: Compute) -> list[torch.Tensor]:
    """A decoder's last states for rows of token ids, without gradients: [tokens, hidden] each."""
    width = max(map(len, ids))
    device = next(decoder.parameters()).device
    padded = torch.tensor([[*row, *[0] * (width - len(row))] for row in ids], device=device)
    mask = torch.tensor([[1] * len(row) + [0] * (width - len(row)) for row in ids], device=device)
    with torch.no_grad(), torch.autocast(device.type, torch.bfloat16, enabled=compute.dtype == "bfloat16"):
        found = decoder(input_ids=padded, attention_mask=mask, use_cache=False).last_hidden_state
    return [states[: len(row)] for states, row in zip(found, ids, strict=True)]


def _check_halves(trainable: Trainable, row: list[int], compute: Compute) -> None:
    """Both halves one after the other must give what the whole decoder gives."""
    model = trainable.model
    whole = (model.get_base_model() if hasattr(model, "peft_config") else model).get_decoder()
    was = model.training
    model.eval()
    middle = run(trainable.below, [row], compute)[0]
    with torch.no_grad(), torch.autocast(middle.device.type, torch.bfloat16, enabled=compute.dtype == "bfloat16"):
        halves = trainable.decoder(inputs_embeds=middle[None], use_cache=False).last_hidden_state[0]
    expected = run(whole, [row], compute)[0]
    model.train(was)
    if not torch.allclose(halves.float(), expected.float(), rtol=0.05, atol=0.05):
        raise InvalidInput("train.top_layers: this model's layers cannot be run in two halves; leave it out")
