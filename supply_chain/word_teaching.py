"""A teacher of a student that writes: the answers it writes itself, or its likeliest tokens along the right ones."""

import math
from collections.abc import Callable
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import torch
from numpy.typing import NDArray
from torch.nn.functional import cross_entropy, kl_div
from transformers import AutoTokenizer

from supply_chain.data.examples import read_split
from supply_chain.data.target import names_in
from supply_chain.encode import answer_room, training_rows
from supply_chain.errors import InvalidInput
from supply_chain.generation import write
from supply_chain.identity import identity
from supply_chain.inference import Loaded, has_head, load
from supply_chain.job import Job
from supply_chain.prompt import Renderer
from supply_chain.recipe.distill import LogitsObjective
from supply_chain.records import Compute
from supply_chain.store import Record, Stored
from supply_chain.teaching import teacher_renderer
from supply_chain.verdicts import Verdict, write_verdicts

VERSION = 1
_BATCH = 16


class WrittenAnswers(Record):
    """`answers.jsonl`: what the teacher wrote for every train row, and how likely it found that."""

    kind: ClassVar[str] = "written_answers"
    teacher: str
    splits_digest: str
    rows: int
    accuracy: float
    """Share of the rows whose own answer is the teacher's."""


class TokenAnswers(Record):
    """What the teacher would write next at every token of the train rows' answers (end token included).

    `offsets.npy`: int64 [rows + 1], where each row's tokens begin. `tokens.npy` (int32) and
    `likelihoods.npy` (float32): the likeliest tokens and their log-probabilities [answer tokens, top].
    """

    kind: ClassVar[str] = "token_answers"
    teacher: str
    splits_digest: str
    rows: int
    answer_tokens: int
    top_tokens: int
    covered: float
    """Mean share of the probability that the kept tokens hold."""
    accuracy: float
    """Share of the answers' tokens that the teacher finds likeliest."""


def written_answers(job: Job, compute: Compute) -> Stored[WrittenAnswers]:
    """The teacher's own answers, written greedily, once. Raises InvalidInput when it has a head instead of words."""
    assert job.teacher is not None
    teacher, splits = job.teacher.verify(), job.splits.verify()
    key = identity(
        "written_answers", VERSION, teacher=teacher.digest, splits=splits.digest, prompt=job.prompt_sha256
    )  # fmt: skip

    def make(folder: Path) -> WrittenAnswers:
        loaded, rows = _load(job, teacher.path, compute), read_split(splits, "train")
        renderer = teacher_renderer(job, teacher.path, loaded.tokenizer)
        room = answer_room(rows, renderer, loaded.tokenizer)
        written = write(loaded, [renderer.context(row.text) for row in rows], room, renderer.complete)
        found = [Verdict(_known(job, renderer.read(one.text)), math.exp(one.likelihood)) for one in written]
        write_verdicts(folder, found)
        return WrittenAnswers(
            teacher=teacher.digest,
            splits_digest=splits.digest,
            rows=len(rows),
            accuracy=sum(v.answer == row.label for v, row in zip(found, rows, strict=True)) / len(rows),
        )

    return job.store.once(WrittenAnswers, key, make)


def token_answers(job: Job, top: int, max_tokens: int, compute: Compute) -> Stored[TokenAnswers]:
    """The teacher's likeliest tokens along the right answers, computed once: another student finds them in the store.

    Raises InvalidInput when teacher and student read different vocabularies or write answers differently.
    """
    assert job.teacher is not None
    teacher, splits = job.teacher.verify(), job.splits.verify()
    asked = {"prompt": job.prompt_sha256, "tokenizer": job.base.record.tokenizer_sha256, "top": top}
    key = identity("token_answers", VERSION, teacher=teacher.digest, splits=splits.digest, **asked)

    def make(folder: Path) -> TokenAnswers:
        contexts, answers = _encoded(job, loaded := _load(job, teacher.path, compute), teacher.path, max_tokens)
        tokens, likelihoods = _likeliest(loaded, contexts, answers, top)
        offsets = np.cumsum([0, *map(len, answers)])
        for name, values in {"offsets": offsets, "tokens": tokens, "likelihoods": likelihoods}.items():
            np.save(folder / f"{name}.npy", values)
        right = tokens[:, 0] == np.concatenate(answers)
        return TokenAnswers(
            teacher=teacher.digest,
            splits_digest=splits.digest,
            rows=len(answers),
            answer_tokens=len(tokens),
            top_tokens=tokens.shape[1],
            covered=float(np.exp(likelihoods).sum(axis=1).mean()),
            accuracy=float(right.mean()),
        )

    return job.store.once(TokenAnswers, key, make)


def token_loss(
    answers: Stored[TokenAnswers], spec: LogitsObjective, smoothing: float
) -> Callable[[torch.Tensor, torch.Tensor, torch.Tensor], torch.Tensor]:
    """A loss on logits [answer tokens, vocabulary]: whole rows, one row's tokens after the other's."""
    path = answers.verify().path
    offsets = np.load(path / "offsets.npy").tolist()
    tokens = torch.from_numpy(np.load(path / "tokens.npy")).long()
    likelihoods = torch.from_numpy(np.load(path / "likelihoods.npy"))

    def loss(logits: torch.Tensor, truth: torch.Tensor, rows: torch.Tensor) -> torch.Tensor:
        of, at = rows.tolist(), list[int]()
        while len(at) < len(of):
            row = of[len(at)]
            at.extend(range(offsets[row], offsets[row + 1]))
        kept, wanted = tokens[at].to(logits.device), likelihoods[at].to(logits.device)
        return top_distillation_loss(logits, truth, kept, wanted, spec, smoothing)

    return loss


def top_distillation_loss(
    logits: torch.Tensor,
    truth: torch.Tensor,
    tokens: torch.Tensor,
    teacher: torch.Tensor,
    spec: LogitsObjective,
    smoothing: float,
) -> torch.Tensor:
    """Sum over tokens of w·CE(truth) + (1 - w)·T²·KL(teacher ‖ student), in nats, at temperature T.

    The teacher's distribution is that over its likeliest `tokens` (log-probabilities `teacher`), both
    [tokens, top], renormalized; the student's is over the whole vocabulary.
    """
    hard = cross_entropy(logits, truth, reduction="sum", label_smoothing=smoothing)
    t = spec.temperature
    student, wanted = (logits / t).log_softmax(-1).gather(1, tokens), (teacher / t).log_softmax(-1)
    soft = kl_div(student, wanted, reduction="sum", log_target=True)
    return spec.truth_weight * hard + (1 - spec.truth_weight) * t * t * soft


def _load(job: Job, path: Path, compute: Compute) -> Loaded:
    loaded = load(path, compute)
    check_writes(loaded.model, job)
    return loaded


def check_writes(teacher: Any, job: Job) -> None:
    """Raises InvalidInput when `teacher` answers with a head of labels."""
    if has_head(teacher):
        raise InvalidInput(
            f"train.teacher: a teacher with a head of labels cannot write answers for {job.recipe.task}: train it with "
            "method lora or full, or give the student a head, too (answers: head)"
        )


def _encoded(job: Job, teacher: Loaded, path: Path, max_tokens: int) -> tuple[list[list[int]], list[list[int]]]:
    """Token ids of each train row's context, as the teacher is asked, and of its answer, as the student writes it."""
    tokenizer = AutoTokenizer.from_pretrained(job.base.verify().path, local_files_only=True)
    check_vocabulary(tokenizer, teacher.tokenizer, "logits")
    rows = read_split(job.splits, "train")
    renderer = Renderer.of(job.recipe.prompt, job.labels, tokenizer, job.recipe.task)
    asking = teacher_renderer(job, path, teacher.tokenizer)
    odd = next((row for row in rows if renderer.answer(row.label) != asking.answer(row.label)), None)
    if odd is not None:
        raise InvalidInput(
            f"prompt: the student would write {renderer.answer(odd.label)!r} where its teacher writes "
            f"{asking.answer(odd.label)!r}: give both recipes the same prompt.kind, answers and order, or take "
            "objective: {kind: sequence}"
        )
    encoded = training_rows(rows, renderer, tokenizer, max_tokens)
    answers = [[token for token in row if token >= 0] for row in encoded["labels"]]
    texts = [asking.context(row.text) for row in rows]
    return teacher.tokenizer(texts, add_special_tokens=False)["input_ids"], answers


def check_vocabulary(student: Any, teacher: Any, objective: str) -> None:
    """Raises InvalidInput when two tokenizers give a token different numbers."""
    if student.get_vocab() == teacher.get_vocab() and student.eos_token_id == teacher.eos_token_id:
        return
    raise InvalidInput(
        f"train.objective {objective}: student and teacher read different vocabularies ({len(student)} and "
        f"{len(teacher)} tokens): take objective: {{kind: sequence}}, which fits any two, or a teacher of the "
        "student's family; TRL's GOLDTrainer (trl.experimental.gold) aligns vocabularies, outside of this chain"
    )


def _likeliest(
    loaded: Loaded, contexts: list[list[int]], answers: list[list[int]], top: int
) -> tuple[NDArray[np.int32], NDArray[np.float32]]:
    """The `top` likeliest tokens and their log-probabilities where each answer token is due: [answer tokens, top]."""
    order = sorted(range(len(contexts)), key=lambda i: len(contexts[i]) + len(answers[i]))
    top = min(top, len(loaded.tokenizer))
    found: dict[int, tuple[torch.Tensor, torch.Tensor]] = {}
    for start in range(0, len(order), _BATCH):
        rows = order[start : start + _BATCH]
        ids = [contexts[i] + answers[i][:-1] for i in rows]
        width, device = max(map(len, ids)), loaded.model.device
        padded = torch.tensor([[*row, *[0] * (width - len(row))] for row in ids], device=device)
        mask = torch.tensor([[1] * len(row) + [0] * (width - len(row)) for row in ids], device=device)
        with torch.inference_mode():
            decoder, output = loaded.model.get_decoder(), loaded.model.get_output_embeddings()
            states = decoder(input_ids=padded, attention_mask=mask, use_cache=False).last_hidden_state
            for k, i in enumerate(rows):
                due = states[k, len(contexts[i]) - 1 : len(ids[k])]
                best = output(due).float()[:, : len(loaded.tokenizer)].log_softmax(-1).topk(top)
                found[i] = (best.indices.cpu(), best.values.cpu())
    tokens = torch.cat([found[i][0] for i in range(len(contexts))]).numpy().astype(np.int32)
    return tokens, torch.cat([found[i][1] for i in range(len(contexts))]).numpy().astype(np.float32)


def _known(job: Job, answer: str) -> str:
    return answer if answer and set(names_in(job.recipe.task, answer)) <= set(job.labels) else ""
