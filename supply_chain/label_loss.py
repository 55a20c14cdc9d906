"""A trainer that computes logits and loss only where there is a label.

Short answers after long contexts: of 30 tokens two have a label, and the output layer over a
vocabulary of 49,152 is a fifth of a forward pass (`benchmarks/train_speed.py` has the figures).
"""

import math
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch.nn.functional import cross_entropy
from transformers import Trainer

from supply_chain.batches import IGNORED
from supply_chain.inference import pooled
from supply_chain.order import KeptOrder
from supply_chain.together import alone, processes, shared_loader, through
from supply_chain.trainable import Trainable

Batch = dict[str, torch.Tensor]
Loss = Callable[[torch.Tensor, torch.Tensor, torch.Tensor], torch.Tensor]
"""Logits [labels, classes], right answers [labels] and the number of each label's row [labels] to a sum."""


class LabelLossTrainer(Trainer):
    """Trains a `Trainable` on the batches of `batches.py`."""

    def __init__(self, trainable: Trainable, loss: Loss, **options: Any):
        """`loss` gives the sum over a batch's labels; see `label_smoothed` and `teaching.py`."""
        super().__init__(model=trainable.model, **options)
        self.trainable, self.loss = trainable, loss
        self.model_accepts_loss_kwargs = True  # so that the loss is a mean over the whole effective batch

    def get_train_dataloader(self) -> Any:
        """All rows, or this process's share of every step."""
        if alone():
            return super().get_train_dataloader()
        at_once, parts = self.args.per_device_train_batch_size, self.args.gradient_accumulation_steps
        return shared_loader(self.train_dataset, self.data_collator, at_once, parts, self._kept)

    def _get_train_sampler(self, *dataset: Any) -> Any:
        return self._kept(super()._get_train_sampler(*dataset))

    def _kept(self, drawn: Any) -> KeptOrder:
        args = self.args
        batch = args.per_device_train_batch_size * args.gradient_accumulation_steps * processes()
        steps = math.ceil(len(drawn) / batch)
        return KeptOrder(drawn, Path(args.output_dir), lambda: self.state.global_step // steps)

    def autocast_smart_context_manager(self, cache_enabled: bool | None = True) -> torch.autocast:
        """Whole weights learn in float32 and multiply in bfloat16, up to 2.4 times as fast
        (`benchmarks/mixed_precision.py`). accelerate arranges that for the model's own `forward`, which a step here
        does not call. Below an adapter all is bfloat16 already; to cast the adapter, too, is no faster."""
        whole = not hasattr(self.trainable.model, "peft_config")
        return torch.autocast(self.args.device.type, torch.bfloat16, enabled=self.args.bf16 and whole)

    def compute_loss(
        self,
        model: Any,
        inputs: Batch,
        return_outputs: bool = False,
        num_items_in_batch: torch.Tensor | int | None = None,
    ) -> Any:
        """Mean loss (nats) over the labels of the whole effective batch."""
        if alone():
            logits, targets = label_logits(self.trainable, inputs)
        else:
            logits, targets = through(model, self.trainable.model, partial(label_logits, self.trainable), inputs)
        count = num_items_in_batch if num_items_in_batch is not None else len(targets)
        labelled = inputs["labels"].ne(IGNORED).reshape(len(inputs["row"]), -1).sum(1)
        loss = self.loss(logits, targets, inputs["row"].repeat_interleave(labelled)) / count
        loss = loss * self.args.world_size  # gradients are averaged over the processes, `count` is of all of them
        return (loss, {"logits": logits}) if return_outputs else loss


def label_smoothed(smoothing: float, weights: torch.Tensor | None = None) -> Loss:
    """Cross-entropy with the truth; with `weights` (float32 [rows], by row number) each row's times its own.

    Where they have a mean of 1, all rows cost on average what they would if each stood there as often as it weighs.
    """
    if weights is None:
        return lambda logits, targets, rows: cross_entropy(logits, targets, reduction="sum", label_smoothing=smoothing)

    def weighted(logits: torch.Tensor, targets: torch.Tensor, rows: torch.Tensor) -> torch.Tensor:
        costs = cross_entropy(logits, targets, reduction="none", label_smoothing=smoothing)
        return (costs * weights.to(costs.device)[rows]).sum()

    return weighted


def label_logits(trainable: Trainable, inputs: Batch) -> tuple[torch.Tensor, torch.Tensor]:
    """float32 logits [labels of the batch, classes or vocabulary], and the right answer to each."""
    of = "input_ids" if "input_ids" in inputs else "inputs_embeds"
    mask, labels = inputs["attention_mask"], inputs["labels"]
    states = trainable.decoder(attention_mask=mask, use_cache=False, **{of: inputs[of]}).last_hidden_state
    wanted = labels != IGNORED
    if trainable.head:
        return trainable.output(pooled(trainable.model, states, mask)[wanted]).float(), labels[wanted]
    return trainable.output(states[:, :-1][wanted]).float(), labels[wanted]
