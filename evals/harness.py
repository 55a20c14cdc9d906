"""Ranks labels by the log-likelihood of what the model would write for them, as a task of lm-eval."""

import json
import shutil
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import yaml
from datasets import Features, List, Value
from lm_eval import simple_evaluate
from lm_eval.tasks import TaskManager

from evals.answering import Sat, Sitting, shots
from evals.engine import TreeLM
from evals.predictions import write_predictions
from supply_chain.calibration import Calibration
from supply_chain.errors import InvalidInput
from supply_chain.prompt import Renderer
from supply_chain.records import Example
from supply_chain.scoring import LabelScorer
from supply_chain.serving import FILE as SERVING
from supply_chain.serving import read_serving

_TASK = Path(__file__).parent / "tasks" / "classification.yaml"
_FEATURES = Features({"context": Value("string"), "choices": List(Value("string")), "target": Value("int64")})


def answer(sitting: Sitting, folder: Path) -> Sat:
    """Writes `predictions.parquet`: every label's calibrated probability for every row.

    Raises InvalidInput for a prompt whose labels do not start at a token's start, or a row that does not fit.
    """
    labels, rows, path = sitting.splits.record.labels, sitting.rows, sitting.subject.path
    renderer = Renderer.of(sitting.recipe.prompt, labels, sitting.loaded.tokenizer)
    if sitting.subject.contestant == "base":
        renderer = replace(renderer, shots=shots(sitting))
    engine, server = TreeLM(sitting.loaded), LabelScorer(sitting.loaded, renderer)
    check_tokens(renderer, rows, engine)
    likelihoods = _score(engine, renderer, rows, folder / "task")
    tuned = (path / SERVING).exists()  # an untuned base model comes without
    serving = read_serving(path) if tuned else None
    calibration = serving.calibration if serving else Calibration()
    write_predictions(folder, rows, labels, calibration.probabilities(likelihoods))
    promise = serving.escalation if serving else None
    return Sat(engine.seconds, lambda texts: decide(server, calibration, texts), promise)


def check_tokens(renderer: Renderer, rows: Sequence[Example], engine: TreeLM) -> int:
    """Tokens of the longest row with its longest label.

    Raises InvalidInput when a label's tokens merge with the prompt before it, so that training on
    the one and scoring the other would differ, or when a row does not fit the model's context.
    """
    answers = [engine.tokenizer.encode(answer, add_special_tokens=False) for answer in renderer.answers]
    lengths: list[int] = []
    for row in rows:
        context = renderer.context(row.text)
        alone = engine.tok_encode(context)
        for i in range(1 if lengths else len(answers)):  # every label once, then every row once
            if engine.tok_encode(context + renderer.answers[i]) != alone + answers[i]:
                raise InvalidInput(
                    f"prompt: the tokens of label {renderer.labels[i]!r} ({renderer.answers[i]!r}) merge with the end "
                    f"of the prompt ({context[-12:]!r}, row {row.id}); change the prompt's end or prompt.answers"
                )
        lengths.append(len(alone) + max(map(len, answers)))
    limit = engine.max_length
    over = [f"row {row.id} ({tokens})" for row, tokens in zip(rows, lengths, strict=True) if tokens > limit]
    if over:
        raise InvalidInput(
            f"{len(over)} test rows have more tokens than the model's context of {limit}: "
            f"{', '.join(over[:5])}; lower data.rules.max_chars"
        )
    return max(lengths)


def decide(server: LabelScorer, calibration: Calibration, texts: Sequence[str]) -> list[str]:
    """The likeliest label of each text, as it is served."""
    rows = calibration.probabilities(server.likelihoods(texts))
    return [server.renderer.labels[max(range(len(row)), key=row.__getitem__)] for row in rows]


def _score(engine: TreeLM, renderer: Renderer, rows: Sequence[Example], work: Path) -> list[list[float]]:
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
    results = simple_evaluate(model=engine, tasks=[task], task_manager=manager, bootstrap_iters=0)
    samples = sorted(results["samples"][task["task"]], key=lambda sample: sample["doc_id"])
    likelihoods = [[float(likelihood) for likelihood, _ in sample["filtered_resps"]] for sample in samples]
    shutil.rmtree(work)
    return likelihoods
