"""Rows as padded tensors: token ids or the frozen layers' states, and what is to be learned."""

from dataclasses import dataclass
from typing import Any

import torch
from torch.nn.utils.rnn import pad_sequence

from supply_chain.trunk import States

IGNORED = -100


@dataclass(frozen=True)
class Batches:
    """Collates rows of `encode.py`; `pad` fills on the right and is masked out."""

    pad: int
    states: States | None = None

    def __call__(self, rows: list[dict[str, Any]]) -> dict[str, torch.Tensor]:
        """`labels` are class numbers [rows], or token ids [rows, tokens - 1] at the place that predicts them."""
        batch: dict[str, torch.Tensor] = {"row": torch.tensor([row["row"] for row in rows])}
        if self.states is None:
            ids = [torch.tensor(row["input_ids"]) for row in rows]
            batch["input_ids"] = pad_sequence(ids, batch_first=True, padding_value=self.pad)
            lengths = [len(row) for row in ids]
        else:
            kept = [self.states.row(row["row"]) for row in rows]
            batch["inputs_embeds"] = pad_sequence(kept, batch_first=True)
            lengths = [len(states) for states in kept]
        width = max(lengths)
        batch["attention_mask"] = (torch.arange(width) < torch.tensor(lengths)[:, None]).long()
        if isinstance(rows[0]["labels"], int):
            labels = torch.tensor([row["labels"] for row in rows])
        else:
            shifted = [torch.tensor(row["labels"][1:]) for row in rows]
            labels = pad_sequence(shifted, batch_first=True, padding_value=IGNORED)
        # Two names for one tensor: the trainer counts `shift_labels` as they are, but looks for `labels`.
        return {**batch, "labels": labels, "shift_labels": labels}
