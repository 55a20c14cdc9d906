"""TRL's trainer of students that learn from their own answers, made resumable bit for bit, whole and silent."""

import math
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

import torch
from datasets import Dataset
from torch.utils.data import Sampler
from transformers.trainer_pt_utils import LengthGroupedSampler
from trl import DistillationConfig, DistillationTrainer

from supply_chain.recipe.distill import OnPolicyObjective


def on_policy_arguments(spec: OnPolicyObjective, answer_tokens: int) -> Callable[..., DistillationConfig]:
    """What makes the trainer's arguments; the student writes `answer_tokens` at most."""
    return partial(
        DistillationConfig,
        beta=spec.beta,
        temperature=spec.temperature,
        max_completion_length=answer_tokens,
        activation_checkpointing=False,
    )


class OnPolicyTrainer(DistillationTrainer):
    """Trains on rows of `context_rows`: what is drawn depends on seed, step and weights alone."""

    def __init__(self, student: Any, teacher: Any, **options: Any):
        """`teacher` reads the student's vocabulary."""
        super().__init__(model=student, teacher_model=teacher, **options)
        self.current_gradient_accumulation_steps = self.args.gradient_accumulation_steps  # for steps outside of train()

    def create_model_card(self, *args: Any, **options: Any) -> None:
        """None: a checkpoint is not for publishing."""

    def _send_telemetry(self) -> None:
        """Nothing about a run leaves this machine."""

    def _tokenize_prompts(self, prompts: list[list[int]]) -> tuple[list[list[int]], None, dict[str, Any]]:
        return prompts, None, {}  # the one renderer has made them

    def _get_train_sampler(self, dataset: Dataset | None = None) -> "WholeBatches":
        parts, rows = self.args.gradient_accumulation_steps, dataset if dataset is not None else self.train_dataset
        batch = self.args.per_device_train_batch_size * parts
        steps = math.ceil(len(rows) / batch)
        return WholeBatches(rows["length"], batch, parts, self.args.seed, lambda: self.state.global_step // steps)

    def _prepare_inputs(self, generation_batch: Any) -> Any:
        device = self.accelerator.device
        with torch.random.fork_rng([device] if device.type == "cuda" else []):
            torch.manual_seed((self.args.seed << 32) + self.state.global_step)
            return super()._prepare_inputs(generation_batch)


class WholeBatches(Sampler[int]):
    """Every epoch all rows, by length, in batches that are each given `parts` times, as the trainer wants them.

    TRL's own sampler drops rows that fill no batch, and gives a resumed epoch the first one's order. Here the last
    batch is filled up with rows from the epoch's beginning.
    """

    def __init__(self, lengths: list[int], batch: int, parts: int, seed: int, epoch: Callable[[], int]):
        """`epoch` gives the number of the epoch that begins or goes on."""
        self.lengths, self.batch, self.parts, self.seed, self.epoch = list(lengths), batch, parts, seed, epoch

    def __iter__(self) -> Iterator[int]:
        """The rows' numbers."""
        source = torch.Generator().manual_seed((self.seed << 32) + self.epoch())
        order = list(LengthGroupedSampler(self.batch, lengths=self.lengths, generator=source))
        for start in range(0, len(order), self.batch):
            yield from [order[i % len(order)] for i in range(start, start + self.batch)] * self.parts

    def __len__(self) -> int:
        """Of an epoch, repetitions counted."""
        return math.ceil(len(self.lengths) / self.batch) * self.batch * self.parts
