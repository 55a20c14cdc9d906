"""Pairs of a better and a worse answer, and a trainer that learns to tell them apart (DPO)."""

import json
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from datasets import Dataset
from torch.nn.functional import cross_entropy, logsigmoid
from torch.nn.utils.rnn import pad_sequence

from supply_chain.batches import IGNORED
from supply_chain.data.examples import read_split
from supply_chain.data.same import same_text
from supply_chain.encode import training_rows
from supply_chain.errors import InvalidInput
from supply_chain.job import Job
from supply_chain.label_loss import Batch, LabelLossTrainer, label_logits
from supply_chain.prompt import Renderer
from supply_chain.questions import reader
from supply_chain.recipe.preference import PairsFile, PreferenceTrain
from supply_chain.records import Compute, Example
from supply_chain.serving import read_serving
from supply_chain.store import sync
from supply_chain.teaching import teacher_answers
from supply_chain.trainable import Trainable
from supply_chain.verdicts import read_verdicts
from supply_chain.word_teaching import written_answers


@dataclass(frozen=True)
class Pair:
    """One text with its better and its worse answer (both in the form of `Example.label`)."""

    right: Example
    wrong: str


def pairs_of(job: Job, spec: PreferenceTrain, compute: Compute) -> list[Pair]:
    """The pairs to learn from. Raises InvalidInput with every fault of the file, or when there is no pair."""
    if job.start is not job.base and read_serving(job.start.path).prompt != job.recipe.prompt:
        raise InvalidInput(f"prompt: {spec.start} reads another prompt: give this recipe the prompt of {spec.start}")
    if isinstance(spec.pairs, PairsFile):
        return _read(job, job.settings.root / spec.pairs.path)
    rows, answers = read_split(job.splits, "train"), _own_answers(job, compute)
    pairs = [Pair(row, answer) for row, answer in zip(rows, answers, strict=True) if answer not in ("", row.label)]
    if not pairs:
        raise InvalidInput(
            f"train.pairs: the model to start from makes no mistake that can be read on {len(rows)} train rows: there "
            "is nothing to prefer; take pairs: {kind: file, path: …}"
        )
    return pairs


def pair_rows(pairs: Sequence[Pair], renderer: Renderer, tokenizer: Any, max_tokens: int) -> Dataset:
    """Columns `row`, `length` (tokens of both), and `input_ids` and `labels` of the right and the wrong answer."""
    wrong = [pair.right.model_copy(update={"label": pair.wrong}) for pair in pairs]
    sides = [
        training_rows(side, renderer, tokenizer, max_tokens) for side in ([pair.right for pair in pairs], wrong)
    ]  # fmt: skip
    return Dataset.from_list(
        [
            {
                "row": number,
                "length": right["length"] + wrong["length"],
                "input_ids": [right["input_ids"], wrong["input_ids"]],
                "labels": [right["labels"], wrong["labels"]],
            }
            for number, (right, wrong) in enumerate(zip(*sides, strict=True))
        ]
    )


@dataclass(frozen=True)
class PairBatches:
    """Collates rows of `pair_rows`: all right answers, then all wrong ones."""

    pad: int

    def __call__(self, rows: list[dict[str, Any]]) -> Batch:
        """`answers` are token ids at the place that predicts them; `labels` count the pairs for the trainer."""
        ids = [torch.tensor(row["input_ids"][side]) for side in (0, 1) for row in rows]
        answers = [torch.tensor(row["labels"][side][1:]) for side in (0, 1) for row in rows]
        lengths = torch.tensor([len(one) for one in ids])
        counted = torch.zeros(len(rows), dtype=torch.long)
        return {
            "row": torch.tensor([row["row"] for row in rows]),
            "input_ids": pad_sequence(ids, batch_first=True, padding_value=self.pad),
            "attention_mask": (torch.arange(int(lengths.max())) < lengths[:, None]).long(),
            "answers": pad_sequence(answers, batch_first=True, padding_value=IGNORED),
            "labels": counted,
            "shift_labels": counted,
        }


class PairTrainer(LabelLossTrainer):
    """Trains a `Trainable` on the batches of `PairBatches`."""

    def __init__(self, trainable: Trainable, spec: PreferenceTrain, reference: torch.Tensor, **options: Any):
        """`reference`: log-likelihoods [pairs, 2] of the right and the wrong answer before training."""
        super().__init__(trainable, lambda *_: torch.zeros(()), **options)
        self.spec, self.reference = spec, reference

    def compute_loss(
        self,
        model: Any,
        inputs: Batch,
        return_outputs: bool = False,
        num_items_in_batch: torch.Tensor | int | None = None,
    ) -> Any:
        """Mean loss (nats) over the pairs of the whole effective batch."""
        found, tokens = answer_likelihoods(self.trainable, inputs)
        before = self.reference.to(found.device)[inputs["row"]]
        count = num_items_in_batch if num_items_in_batch is not None else len(found)
        loss = preference_loss(found, before, tokens, self.spec).sum() / count
        return (loss, {"logits": found}) if return_outputs else loss


def preference_loss(
    found: torch.Tensor, before: torch.Tensor, tokens: torch.Tensor, spec: PreferenceTrain
) -> torch.Tensor:
    """Loss of each pair, float32 [pairs]: -log sigmoid of beta times how much more the right answer has gained.

    `found` and `before` are log-likelihoods [pairs, 2] (right, wrong), `tokens` the right answer's [pairs].
    Rafailov et al. 2023, equation 7; smoothed as in Mitchell 2023 (conservative DPO).
    """
    gain = found - before
    margin = spec.beta * (gain[:, 0] - gain[:, 1])
    smoothing = spec.label_smoothing
    loss = -(1 - smoothing) * logsigmoid(margin) - smoothing * logsigmoid(-margin)
    return loss - spec.truth_weight * found[:, 0] / tokens


def answer_likelihoods(trainable: Trainable, inputs: Batch) -> tuple[torch.Tensor, torch.Tensor]:
    """Log-likelihoods (nats) of both answers [pairs, 2], and the right one's tokens [pairs]."""
    answers = inputs["answers"]
    logits, targets = label_logits(trainable, {**inputs, "labels": answers})
    likelihoods = -cross_entropy(logits, targets, reduction="none")
    sides = (answers != IGNORED).sum(dim=1)
    sums = torch.stack([part.sum() for part in likelihoods.split(sides.tolist())])
    return sums.view(2, -1).T, sides[: len(sides) // 2]


def reference_of(trainable: Trainable, rows: Dataset, pad: int, work: Path) -> torch.Tensor:
    """What the untrained `trainable` finds of every pair, float32 [pairs, 2]; computed once and kept in `work`.

    The file is there before the first checkpoint, so a resumed run never measures a trained model.
    """
    path = work / "reference.npy"
    if not path.exists():
        trainable.model.eval()
        found = []
        with torch.no_grad():
            for row in rows:
                inputs = PairBatches(pad)([row])
                inputs = {name: tensor.to(trainable.model.device) for name, tensor in inputs.items()}
                found.append(answer_likelihoods(trainable, inputs)[0].float().cpu())
        draft = work / ".reference.npy"
        np.save(draft, torch.cat(found).numpy())
        sync(draft)
        draft.replace(path)
    return torch.from_numpy(np.load(path))


def _own_answers(job: Job, compute: Compute) -> list[str]:
    asked = replace(job, teacher=job.start)
    if job.recipe.task != "classification":
        return [verdict.answer for verdict in read_verdicts(written_answers(asked, compute).verify().path)]
    best = np.load(teacher_answers(asked, compute).verify().path / "answers.npy").argmax(axis=1)
    return [job.labels[i] for i in best]


def _read(job: Job, path: Path) -> list[Pair]:
    held = {same_text(row.text) for name in ("validation", "test") for row in read_split(job.splits, name)}
    read, pairs, faults = reader(job.recipe.task, job.labels), list[Pair](), list[str]()
    for number, line in enumerate(_lines(path), 1):
        if not line.strip():
            continue
        try:
            found = json.loads(line)
            text, right, wrong = (found[name] for name in ("text", "right", "wrong"))
        except (ValueError, KeyError, TypeError, RecursionError):
            faults.append(f'line {number}: is no object {{"text": …, "wrong": …, "right": …}}')
            continue
        answers = [read(one if isinstance(one, str) else json.dumps(one)) for one in (right, wrong)]
        if not isinstance(text, str) or not text.strip():
            faults.append(f"line {number}: text is empty or no text")
        elif not all(answers):
            odd = right if not answers[0] else wrong
            faults.append(f"line {number}: {str(odd)[:60]!r} is no answer to {job.recipe.task} over {_few(job.labels)}")
        elif answers[0] == answers[1]:
            faults.append(f"line {number}: right and wrong are the same answer")
        elif same_text(text) in held:
            faults.append(f"line {number}: its text is held out for validation or test")
        else:
            where = {"group": f"pair-{number}", "file": path.name, "line": number}
            pairs.append(Pair(Example(id=f"pair-{number}", text=text, label=answers[0], **where), answers[1]))
    if faults or not pairs:
        more = f"; and {len(faults) - 5} more" if len(faults) > 5 else ""
        raise InvalidInput(f"train.pairs {path}: {'; '.join(faults[:5]) or 'holds no pair'}{more}")
    return pairs


def _lines(path: Path) -> list[str]:
    try:
        return path.read_text(encoding="utf-8").split("\n")
    except (OSError, UnicodeDecodeError) as error:
        raise InvalidInput(f"train.pairs {path}: {error}") from None


def _few(names: Sequence[str]) -> str:
    return ", ".join(names[:5]) + (f" and {len(names) - 5} more" if len(names) > 5 else "")
