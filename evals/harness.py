"""Answers the test rows with stored weights, through EleutherAI's lm-evaluation-harness.

Labels are ranked by the log-likelihood of what the model would write for them. Runs in a worker
process of its own: it loads torch, sets threads and reports the process's peak memory.
"""

import json
import os
import shutil
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

os.environ["HF_HUB_OFFLINE"] = "1"  # before the libraries below read it

import numpy as np
import torch
import yaml
from datasets import Features, List, Value
from lm_eval import simple_evaluate
from lm_eval.api.instance import Instance
from lm_eval.models.huggingface import HFLM
from lm_eval.tasks import TaskManager

from evals.heads import HeadScorer
from evals.keys import answers_key
from evals.predictions import sampled_test, write_predictions
from evals.timing import peak_memory_bytes, time_decisions
from supply_chain.calibration import Calibration
from supply_chain.errors import InvalidInput
from supply_chain.inference import Loaded, has_head, load
from supply_chain.prompt import Renderer
from supply_chain.recipe import Recipe
from supply_chain.records import Compute, Example, Predictions, Splits
from supply_chain.serving import FILE as SERVING
from supply_chain.serving import read_serving
from supply_chain.store import Store, Stored

_TASK = Path(__file__).parent / "tasks" / "classification.yaml"
_FEATURES = Features({"context": Value("string"), "choices": List(Value("string")), "target": Value("int64")})
_BATCH_ROWS, _BATCH_TOKENS = 16, 2048


class Scorer(HFLM):
    """HFLM over a loaded model that also notes the seconds spent scoring.

    Labels of one token share a forward pass (`logits_cache`). Log-probabilities are taken in
    float32, since bfloat16 makes ties of near answers. No token is added, as in training.
    """

    def __init__(self, loaded: Loaded):
        super().__init__(
            pretrained=loaded.model,
            tokenizer=loaded.tokenizer,
            backend="causal",
            add_bos_token=False,
            softmax_dtype=torch.float32,
            logits_cache=True,
        )
        self.seconds = 0.0

    def loglikelihood(self, requests: list[Any], disable_tqdm: bool = True) -> list[tuple[float, bool]]:
        """Log-likelihood of each request's continuation, and whether it is the greedy one."""
        start = time.perf_counter()
        with torch.inference_mode():
            found: list[tuple[float, bool]] = super().loglikelihood(requests, disable_tqdm=True)
        self.seconds += time.perf_counter() - start
        return found


@dataclass(frozen=True)
class Subject:
    """Whose weights answer: contestant, folder, digest and size on disk of the stored object."""

    contestant: str
    path: Path
    model_digest: str
    size_bytes: int


def predict_model(  # noqa: PLR0913, PLR0917 (the worker passes each by name)
    contestant: str,
    path: Path,
    model_digest: str,
    size_bytes: int,
    splits: Stored[Splits],
    recipe: Recipe,
    compute: Compute,
    seed: int,
    store: Store,
) -> Stored[Predictions]:
    """Answers the test rows with the weights in `path`, and times single decisions.

    The digest of the weights covers the tokenizer and its chat template. Raises CorruptData for
    weights that cannot be loaded and InvalidInput for a prompt whose labels do not start at a
    token's start, or that is longer than the model's context.
    """
    key = answers_key(contestant, model_digest, splits, recipe, seed)
    subject = Subject(contestant, path, model_digest, size_bytes)
    return store.once(Predictions, key, lambda folder: _predict(subject, splits, recipe, compute, seed, folder))


def _predict(
    subject: Subject, splits: Stored[Splits], recipe: Recipe, compute: Compute, seed: int, folder: Path
) -> Predictions:
    labels, rows = splits.record.labels, sampled_test(splits.verify(), recipe.evaluate, seed)
    loaded = load(subject.path, compute)
    renderer = Renderer.of(recipe.prompt, labels, loaded.tokenizer)
    scorer: Scorer | HeadScorer
    if has_head(loaded.model):
        scorer = HeadScorer(loaded, renderer)
        likelihoods = scorer.score([row.text for row in rows])
    else:
        scorer = Scorer(loaded)
        scorer.batch_size_per_gpu = max(1, min(_BATCH_ROWS, _BATCH_TOKENS // check_tokens(renderer, rows, scorer)))
        likelihoods = _score(scorer, renderer, rows, folder / "task")
    batched_seconds = scorer.seconds
    tuned = (subject.path / SERVING).exists()  # an untuned base model comes without
    calibration = read_serving(subject.path).calibration if tuned else Calibration()
    write_predictions(folder, rows, labels, calibration.probabilities(likelihoods))
    latency = time_decisions(
        lambda text: decide(scorer, renderer, calibration, text),
        [row.text for row in rows],
        recipe.evaluate.latency_rows,
    )
    device_bytes = torch.cuda.max_memory_allocated() if compute.device.startswith("cuda") else 0
    return Predictions(
        contestant=subject.contestant,
        model_digest=subject.model_digest,
        splits_digest=splits.digest,
        labels=labels,
        rows=len(rows),
        p50_ms=latency.p50_ms,
        p95_ms=latency.p95_ms,
        size_bytes=subject.size_bytes,
        peak_memory_bytes=peak_memory_bytes() + device_bytes,
        load_seconds=loaded.load_seconds,
        decisions_per_second=len(rows) / batched_seconds,
    )


def check_tokens(renderer: Renderer, rows: Sequence[Example], scorer: Scorer) -> int:
    """Tokens of the longest row with its longest label.

    Raises InvalidInput when a label's tokens merge with the prompt before it, so that training on
    the one and scoring the other would differ, or when a row does not fit the model's context.
    """
    answers = [scorer.tokenizer.encode(answer, add_special_tokens=False) for answer in renderer.answers]
    lengths: list[int] = []
    for row in rows:
        context = renderer.context(row.text)
        alone = scorer.tok_encode(context)
        for i in range(1 if lengths else len(answers)):  # every label once, then every row once
            if scorer.tok_encode(context + renderer.answers[i]) != alone + answers[i]:
                raise InvalidInput(
                    f"prompt: the tokens of label {renderer.labels[i]!r} ({renderer.answers[i]!r}) merge with the end "
                    f"of the prompt ({context[-12:]!r}, row {row.id}); change the prompt's end or prompt.answers"
                )
        lengths.append(len(alone) + max(map(len, answers)))
    limit = scorer.max_length
    over = [f"row {row.id} ({tokens})" for row, tokens in zip(rows, lengths, strict=True) if tokens > limit]
    if over:
        raise InvalidInput(
            f"{len(over)} test rows have more tokens than the model's context of {limit}: "
            f"{', '.join(over[:5])}; lower data.rules.max_chars"
        )
    return max(lengths)


def decide(scorer: Scorer | HeadScorer, renderer: Renderer, calibration: Calibration, text: str) -> str:
    """The likeliest label of one text, in one request."""
    if isinstance(scorer, HeadScorer):
        return renderer.labels[int(np.argmax(calibration.probabilities(scorer.score([text]))[0]))]
    context = renderer.context(text)
    requests = [Instance("loglikelihood", {}, (context, answer), i) for i, answer in enumerate(renderer.answers)]
    likelihoods = [likelihood for likelihood, _ in scorer.loglikelihood(requests)]
    return renderer.labels[int(np.argmax(calibration.probabilities([likelihoods])[0]))]


def _score(scorer: Scorer, renderer: Renderer, rows: Sequence[Example], work: Path) -> list[list[float]]:
    """Log-likelihood of every label: [rows, labels], in the rows' order."""
    work.mkdir()
    with (work / "test.jsonl").open("w", encoding="utf-8") as file:
        for row in rows:
            target = renderer.labels.index(row.label)
            document = {"context": renderer.context(row.text), "choices": renderer.answers, "target": target}
            file.write(json.dumps(document) + "\n")
    task = yaml.safe_load(_TASK.read_text(encoding="utf-8"))
    task["dataset_kwargs"] = {
        "data_files": {"test": str((work / "test.jsonl").resolve())},
        "cache_dir": str((work / "cache").resolve()),
        "features": _FEATURES,
    }
    manager = TaskManager(include_defaults=False)
    results = simple_evaluate(model=scorer, tasks=[task], task_manager=manager, bootstrap_iters=0)
    samples = sorted(results["samples"][task["task"]], key=lambda sample: sample["doc_id"])
    likelihoods = [[float(likelihood) for likelihood, _ in sample["filtered_resps"]] for sample in samples]
    shutil.rmtree(work)
    return likelihoods
