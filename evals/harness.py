"""Ranks labels by the log-likelihood of what the model would write for them, through EleutherAI's

lm-evaluation-harness.
"""

import json
import shutil
import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
import yaml
from datasets import Features, List, Value
from lm_eval import simple_evaluate
from lm_eval.api.instance import Instance
from lm_eval.models.huggingface import HFLM
from lm_eval.tasks import TaskManager

from evals.answering import Sat, Sitting, shots
from evals.predictions import write_predictions
from supply_chain.calibration import Calibration
from supply_chain.errors import InvalidInput
from supply_chain.inference import Loaded
from supply_chain.prompt import Renderer
from supply_chain.records import Example
from supply_chain.serving import FILE as SERVING
from supply_chain.serving import read_serving

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


def answer(sitting: Sitting, folder: Path) -> Sat:
    """Writes `predictions.parquet`: every label's calibrated probability for every row.

    Raises InvalidInput for a prompt whose labels do not start at a token's start, or a row that does not fit.
    """
    labels, rows, path = sitting.splits.record.labels, sitting.rows, sitting.subject.path
    renderer = Renderer.of(sitting.recipe.prompt, labels, sitting.loaded.tokenizer)
    if sitting.subject.contestant == "base":
        renderer = replace(renderer, shots=shots(sitting))
    scorer = Scorer(sitting.loaded)
    scorer.batch_size_per_gpu = max(1, min(_BATCH_ROWS, _BATCH_TOKENS // check_tokens(renderer, rows, scorer)))
    likelihoods = _score(scorer, renderer, rows, folder / "task")
    batched_seconds = scorer.seconds
    tuned = (path / SERVING).exists()  # an untuned base model comes without
    calibration = read_serving(path).calibration if tuned else Calibration()
    write_predictions(folder, rows, labels, calibration.probabilities(likelihoods))
    return Sat(batched_seconds, lambda text: decide(scorer, renderer, calibration, text))


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


def decide(scorer: Scorer, renderer: Renderer, calibration: Calibration, text: str) -> str:
    """The likeliest label of one text, in one request."""
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
