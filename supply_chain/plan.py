"""What every attempt at a training shares, and what it opens: the model, its trainer, its batches."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from datasets import Dataset

from supply_chain.batches import Batches
from supply_chain.job import Job
from supply_chain.label_loss import LabelLossTrainer, Loss
from supply_chain.preference import PairBatches, PairTrainer, reference_of
from supply_chain.prompt import Renderer
from supply_chain.recipe.preference import PreferenceTrain
from supply_chain.records import Compute
from supply_chain.tracking import Tracker
from supply_chain.trainable import Spec, Trainable, open_trainable
from supply_chain.trunk import States
from supply_chain.warm_start import take_over


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

    def opened(self, compute: Compute | None = None) -> Trainable:
        """The model to train, newly read."""
        job, seed = self.job, self.job.settings.seed
        path = job.teacher.path if self.kept and job.teacher else job.start.path
        trainable = open_trainable(path, self.spec, job.labels, compute or self.compute, seed, self.kept)
        take_over(trainable.model, job)
        return trainable

    def trainer(self, trainable: Trainable, trial: bool = False, **options: Any) -> LabelLossTrainer:
        """What trains it on these rows; for pairs, what the model finds before is measured first, but for a trial."""
        if not isinstance(self.spec, PreferenceTrain):
            return LabelLossTrainer(trainable, self.loss, train_dataset=self.rows, **options)
        before = torch.zeros(len(self.rows), 2) if trial else self._reference(trainable)
        return PairTrainer(trainable, self.spec, before, train_dataset=self.rows, **options)

    def _reference(self, trainable: Trainable) -> torch.Tensor:
        with torch.autocast(self.compute.device, torch.bfloat16, enabled=self.compute.dtype == "bfloat16"):
            return reference_of(trainable, self.rows, self.pad, self.work)

    def batches(self, states: States | None = None) -> Batches | PairBatches:
        """What makes batches of these rows."""
        return PairBatches(self.pad) if isinstance(self.spec, PreferenceTrain) else Batches(self.pad, states)

    @property
    def pad(self) -> int:
        """The token that fills up shorter rows."""
        return int(self.tokenizer.pad_token_id or 0)
