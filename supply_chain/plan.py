"""What every attempt at a training shares, and what it opens: the model, its trainer, its batches."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from datasets import Dataset
from transformers import Trainer, TrainingArguments

from supply_chain.arguments import arguments
from supply_chain.batches import IGNORED, Batches
from supply_chain.inference import open_weights
from supply_chain.job import Job
from supply_chain.label_loss import LabelLossTrainer, Loss
from supply_chain.preference import PairBatches, PairTrainer, reference_of
from supply_chain.prompt import Renderer
from supply_chain.recipe.distill import OnPolicyObjective
from supply_chain.recipe.preference import PreferenceTrain
from supply_chain.records import Compute
from supply_chain.tracking import Tracker
from supply_chain.trainable import Spec, Trainable, open_trainable
from supply_chain.trunk import States
from supply_chain.warm_start import take_over
from supply_chain.word_teaching import check_writes


@dataclass(frozen=True)
class Plan:
    """What every attempt shares."""

    job: Job
    spec: Spec
    tokenizer: Any
    renderer: Renderer
    rows: Dataset
    compute: Compute
    work: Path
    tracker: Tracker
    loss: Loss
    kept: list[int] | None
    paid_usd: float | None = None
    """What the answers of a teacher behind an endpoint cost."""
    answer_tokens: int = 0
    """The most that an on-policy student writes."""

    def opened(self) -> Trainable:
        """The model to train, newly read."""
        job, seed = self.job, self.job.settings.seed
        path = job.teacher.path if self.kept and job.teacher else job.start.path
        compute = self.compute
        if job.settings.sharded:
            compute = compute.model_copy(update={"device": "cpu"})  # whole weights need not fit into one GPU
        trainable = open_trainable(path, self.spec, job.labels, compute, seed, self.kept)
        take_over(trainable.model, job)
        return trainable

    def arguments(self, rows_at_once: int) -> TrainingArguments:
        """The trainer's own settings."""
        kind: Any = TrainingArguments
        if self.on_policy is not None:
            from supply_chain.on_policy_trainer import on_policy_arguments  # noqa: PLC0415 (TRL is slow to import)

            kind = on_policy_arguments(self.on_policy, self.answer_tokens)
        return arguments(self.spec, self.compute, self.job.settings, self.work, rows_at_once, kind)

    def trainer(
        self, trainable: Trainable, states: States | None = None, trial: bool = False, **options: Any
    ) -> Trainer:
        """What trains it on these rows; for pairs, what the model finds before is measured first, but for a trial."""
        options = {**options, "train_dataset": self.rows, "processing_class": self.tokenizer}
        if self.on_policy is not None:
            return self._on_policy_trainer(trainable, options)
        options["data_collator"] = self.batches(states)
        if not isinstance(self.spec, PreferenceTrain):
            return LabelLossTrainer(trainable, self.loss, **options)
        before = torch.zeros(len(self.rows), 2) if trial else self._reference(trainable)
        return PairTrainer(trainable, self.spec, before, **options)

    def trial(self, rows_at_once: int) -> Callable[[], object]:
        """A part of a step on so many rows of middling length, after which nothing is kept."""
        trainable = self.opened()
        trainer = self.trainer(trainable, trial=True, args=self.arguments(rows_at_once))
        middle = self.rows[sorted(range(len(self.rows)), key=lambda i: self.rows[i]["length"])[len(self.rows) // 2]]
        if self.on_policy is not None:
            given = [middle] * rows_at_once * trainer.args.gradient_accumulation_steps  # answers of all parts at once
            return lambda: trainer.training_step(trainable.model, given, None)
        batch = self.batches()([middle] * rows_at_once)
        if trainable.below is not None:
            shape = (*batch.pop("input_ids").shape, int(trainable.model.config.hidden_size))
            batch["inputs_embeds"] = torch.zeros(shape)
        count = batch["labels"].ne(IGNORED).sum()
        return lambda: trainer.training_step(trainable.model, dict(batch), num_items_in_batch=count)

    def _on_policy_trainer(self, trainable: Trainable, options: dict[str, Any]) -> Trainer:
        from supply_chain.on_policy_trainer import OnPolicyTrainer  # noqa: PLC0415

        assert self.job.teacher is not None
        teacher = open_weights(self.job.teacher.path, self.compute)
        check_writes(teacher, self.job)
        return OnPolicyTrainer(trainable.model, teacher, **options)

    def _reference(self, trainable: Trainable) -> torch.Tensor:
        with torch.autocast(self.compute.device, torch.bfloat16, enabled=self.compute.dtype == "bfloat16"):
            return reference_of(trainable, self.rows, self.pad, self.work)

    def batches(self, states: States | None = None) -> Batches | PairBatches:
        """What makes batches of these rows."""
        return PairBatches(self.pad) if isinstance(self.spec, PreferenceTrain) else Batches(self.pad, states)

    @property
    def on_policy(self) -> OnPolicyObjective | None:
        """How a student learns from what it writes itself, if it does."""
        objective = getattr(self.spec, "objective", None)
        return objective if isinstance(objective, OnPolicyObjective) else None

    @property
    def pad(self) -> int:
        """The token that fills up shorter rows."""
        return int(self.tokenizer.pad_token_id or 0)
