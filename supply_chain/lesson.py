"""What a recipe's model is to learn: which rows, with which loss, and from whose layers it starts."""

from dataclasses import dataclass
from pathlib import Path

import torch

from supply_chain.asking import endpoint_answers
from supply_chain.compute import scoring_compute
from supply_chain.data.examples import read_split
from supply_chain.job import Job
from supply_chain.label_loss import Loss, label_smoothed
from supply_chain.on_policy import check_same_words
from supply_chain.preference import Pair, pairs_of
from supply_chain.recipe.continual import Corrections
from supply_chain.recipe.distill import DistillTrain, LogitsObjective, OnPolicyObjective, SequenceObjective
from supply_chain.recipe.preference import PreferenceTrain
from supply_chain.records import Example
from supply_chain.succession import CORRECTED
from supply_chain.teaching import distillation_loss, layers_to_keep, taught, teacher_answers
from supply_chain.verdicts import followed, read_verdicts
from supply_chain.word_teaching import token_answers, token_loss, written_answers


def row_weights(rows: list[Example], corrections: Corrections | None) -> torch.Tensor | None:
    """What each row counts, float32 [rows] with a mean of 1; None where all count the same."""
    if corrections is None:
        return None
    weights = torch.tensor([corrections.weight if row.flags == CORRECTED else 1.0 for row in rows])
    return weights / weights.mean()


@dataclass(frozen=True)
class Lesson:
    """Rows, the loss on them, and the layers that a student cut from its teacher keeps."""

    examples: list[Example]
    loss: Loss
    kept: list[int] | None = None
    paid_usd: float | None = None
    """What the answers of a teacher behind an endpoint cost."""
    pairs: list[Pair] | None = None
    """What is learned instead of rows by preference."""


def lesson_of(job: Job, work: Path) -> Lesson:
    """The train rows and their loss; a teacher is asked first, unless the store has its answers."""
    spec = job.recipe.train
    if isinstance(spec, PreferenceTrain):
        pairs = pairs_of(job, spec, scoring_compute(job.settings))
        return Lesson([pair.right for pair in pairs], label_smoothed(0), pairs=pairs)
    if not isinstance(spec, DistillTrain):
        rows = read_split(job.splits, "train")
        return Lesson(rows, label_smoothed(spec.label_smoothing, row_weights(rows, spec.corrections)))
    return _distilled(job, spec, work)


def _distilled(job: Job, spec: DistillTrain, work: Path) -> Lesson:
    if spec.teacher.endpoint is not None and isinstance(spec.objective, SequenceObjective):
        answers = endpoint_answers(job, spec.teacher.endpoint).verify()
        said = read_verdicts(answers.path)
        rows = followed(read_split(job.splits, "train"), said, spec.objective)
        return Lesson(rows, label_smoothed(spec.label_smoothing), paid_usd=answers.record.usd)
    compute = scoring_compute(job.settings)
    if isinstance(spec.objective, OnPolicyObjective):
        check_same_words(job)
    kept = layers_to_keep(job, spec.student, compute, work) if spec.student else None
    if isinstance(spec.objective, OnPolicyObjective):
        return Lesson(read_split(job.splits, "train"), label_smoothed(0), kept)
    if spec.answers == "words" and isinstance(spec.objective, LogitsObjective):
        kept_tokens = token_answers(job, spec.objective.top_tokens, spec.max_tokens, compute)
        loss = token_loss(kept_tokens, spec.objective, spec.label_smoothing)
        return Lesson(read_split(job.splits, "train"), loss, kept)
    if job.recipe.task != "classification" and isinstance(spec.objective, SequenceObjective):
        said = read_verdicts(written_answers(job, compute).verify().path)
        rows = followed(read_split(job.splits, "train"), said, spec.objective)
        return Lesson(rows, label_smoothed(spec.label_smoothing), kept)
    found = taught(job, teacher_answers(job, compute), spec.objective)
    if found.likelihoods is None or not isinstance(spec.objective, LogitsObjective):
        return Lesson(found.examples, label_smoothed(spec.label_smoothing), kept)
    return Lesson(found.examples, _label_loss(found.likelihoods, spec.objective, spec.label_smoothing), kept)


def _label_loss(likelihoods: torch.Tensor, objective: LogitsObjective, smoothing: float) -> Loss:
    def loss(logits: torch.Tensor, truth: torch.Tensor, rows: torch.Tensor) -> torch.Tensor:
        return distillation_loss(logits, truth, likelihoods.to(logits.device)[rows], objective, smoothing)

    return loss
