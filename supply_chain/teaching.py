"""The teacher's side of distillation: what it says about every row, and the student cut from it."""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import torch
from torch.nn.functional import cosine_similarity, cross_entropy, kl_div

from supply_chain.data.examples import read_split
from supply_chain.errors import InvalidInput
from supply_chain.identity import identity
from supply_chain.inference import Loaded, load
from supply_chain.job import Job
from supply_chain.prompt import Renderer
from supply_chain.recipe.distill import Cut, LogitsObjective, SequenceObjective
from supply_chain.records import Compute, Example
from supply_chain.scoring import label_likelihoods
from supply_chain.serving import FILE, read_serving
from supply_chain.store import Record, Stored, write_atomically
from supply_chain.verdicts import Verdict, followed

VERSION = 1


class TeacherAnswers(Record):
    """`answers.npy`: the teacher's log-probability of every label for every train row, float32 [rows, labels]."""

    kind: ClassVar[str] = "teacher_answers"
    teacher: str
    """Digest of the weights that answered."""
    splits_digest: str
    labels: list[str]
    rows: int
    accuracy: float
    """On the train rows."""


@dataclass(frozen=True)
class Taught:
    """The rows to learn from and, for the `logits` objective, the teacher's log-probabilities for them."""

    examples: list[Example]
    likelihoods: torch.Tensor | None


def teacher_answers(job: Job, compute: Compute) -> Stored[TeacherAnswers]:
    """Asks the teacher about every train row, once: another student of it finds the answers in the store.

    Raises InvalidInput when the teacher knows other labels.
    """
    assert job.teacher is not None
    teacher, splits = job.teacher.verify(), job.splits.verify()
    key = identity(
        "teacher_answers", VERSION, teacher=teacher.digest, splits=splits.digest, prompt=job.prompt_sha256,
    )  # fmt: skip

    def make(folder: Path) -> TeacherAnswers:
        loaded, rows = load(teacher.path, compute), read_split(splits, "train")
        renderer = teacher_renderer(job, teacher.path, loaded.tokenizer)
        found = label_likelihoods(loaded, renderer, [row.text for row in rows])
        order = [renderer.labels.index(label) for label in job.labels]
        answers = torch.tensor(found)[:, order].log_softmax(-1).numpy().astype(np.float32)
        np.save(folder / "answers.npy", answers)
        truth = np.array([job.labels.index(row.label) for row in rows])
        return TeacherAnswers(
            teacher=teacher.digest,
            splits_digest=splits.digest,
            labels=job.labels,
            rows=len(rows),
            accuracy=float((answers.argmax(axis=1) == truth).mean()),
        )

    return job.store.once(TeacherAnswers, key, make)


def taught(job: Job, answers: Stored[TeacherAnswers], objective: LogitsObjective | SequenceObjective) -> Taught:
    """The train rows as the objective wants them learned. Raises InvalidInput when none is left."""
    rows = read_split(job.splits, "train")
    found = torch.from_numpy(np.load(answers.verify().path / "answers.npy"))
    if isinstance(objective, LogitsObjective):
        return Taught(rows, found)
    shares = found.exp().max(dim=1)
    verdicts = [
        Verdict(job.labels[i], float(share)) for i, share in zip(shares.indices.tolist(), shares.values, strict=True)
    ]
    return Taught(followed(rows, verdicts, objective), None)


def distillation_loss(
    logits: torch.Tensor, truth: torch.Tensor, teacher: torch.Tensor, spec: LogitsObjective, smoothing: float
) -> torch.Tensor:
    """Sum over rows of w·CE(truth) + (1 - w)·T²·KL(teacher ‖ student), both at temperature T, in nats.

    `logits` and `teacher` (log-probabilities) are [rows, labels]. T² keeps the gradients' size (Hinton et al.).
    """
    hard = cross_entropy(logits, truth, reduction="sum", label_smoothing=smoothing)
    t = spec.temperature
    student, wanted = (logits / t).log_softmax(-1), (teacher / t).log_softmax(-1)
    soft = kl_div(student, wanted, reduction="sum", log_target=True)
    return spec.truth_weight * hard + (1 - spec.truth_weight) * t * t * soft


def layers_to_keep(job: Job, cut: Cut, compute: Compute, work: Path) -> list[int]:
    """The teacher's layers that the student takes over, in order; measured once and kept in `work`.

    Raises InvalidInput when the teacher has no more than `cut.layers`.
    """
    assert job.teacher is not None
    path = work / "layers.json"
    if path.exists():
        return [int(layer) for layer in json.loads(path.read_text())]
    loaded = load(job.teacher.verify().path, compute)
    depth = int(loaded.model.config.num_hidden_layers)
    if cut.layers >= depth:
        raise InvalidInput(f"train.student.layers is {cut.layers}, the teacher has {depth}: keep fewer")
    if cut.choose == "even":
        kept = [round(i * (depth - 1) / max(cut.layers - 1, 1)) for i in range(cut.layers)]
    else:
        rows = read_split(job.splits, "train")[:: max(1, sum(job.splits.record.rows["train"].values()) // cut.rows)]
        renderer = teacher_renderer(job, job.teacher.path, loaded.tokenizer)
        scores = block_influence(loaded, renderer, [row.text for row in rows])
        kept = sorted(sorted(range(depth), key=lambda i: -scores[i])[: cut.layers])
    write_atomically(path, json.dumps(kept))
    return kept


def block_influence(loaded: Loaded, renderer: Renderer, texts: list[str]) -> list[float]:
    """How much each layer changes its input: 1 - mean cosine of a token's state before and after.

    Men et al. 2024 (ShortGPT, arXiv:2403.03853), equation 1.
    """
    decoder = loaded.model.get_decoder()
    states: list[torch.Tensor] = []
    hooks = [layer.register_forward_pre_hook(lambda _, args: states.append(args[0])) for layer in decoder.layers]
    hooks.append(decoder.norm.register_forward_pre_hook(lambda _, args: states.append(args[0])))
    sums, tokens = [0.0] * len(decoder.layers), 0
    try:
        for text in texts:
            ids = loaded.tokenizer(renderer.context(text), add_special_tokens=False, return_tensors="pt")["input_ids"]
            states.clear()
            with torch.inference_mode():
                decoder(input_ids=ids.to(loaded.model.device), use_cache=False)
            for i in range(len(sums)):
                sums[i] += float(cosine_similarity(states[i].float(), states[i + 1].float(), dim=-1).sum())
            tokens += ids.shape[1]
    finally:
        for hook in hooks:
            hook.remove()
    return [1 - total / tokens for total in sums]


def teacher_renderer(job: Job, path: Path, tokenizer: Any) -> Renderer:
    """The teacher's own prompt; an untuned base reads this recipe's. Raises InvalidInput for other labels."""
    if not (path / FILE).exists():
        return Renderer.of(job.recipe.prompt, job.labels, tokenizer, job.recipe.task)
    serving = read_serving(path)
    if set(serving.labels) != set(job.labels):
        odd = sorted(set(serving.labels) ^ set(job.labels))
        raise InvalidInput(
            f"train.teacher: teacher and student know different labels ({', '.join(odd[:5])}): train both on data with "
            "the same labels"
        )
    return Renderer.of(serving.prompt, serving.labels, tokenizer, job.recipe.task)
