"""Answers the test rows with stored weights. Runs in a worker process of its own: it loads torch, sets

threads and reports the process's peak memory.
"""

import os
import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

os.environ["HF_HUB_OFFLINE"] = "1"  # before the libraries below read it

from evals.keys import answers_key
from evals.mended import ask_again
from evals.predictions import sampled_test
from evals.robustness import stress
from evals.timing import peak_memory_bytes, time_decisions
from supply_chain.data.corrections import Corrections
from supply_chain.data.examples import read_split
from supply_chain.escalation import Escalation
from supply_chain.loaded import Loaded, has_head
from supply_chain.opening import open_artifact
from supply_chain.recipe import Recipe
from supply_chain.records import Compute, Example, Predictions, Splits
from supply_chain.store import Store, Stored


@dataclass(frozen=True)
class Subject:
    """Whose weights answer: contestant, folder, digest and size on disk of the stored object."""

    contestant: str
    path: Path
    model_digest: str
    size_bytes: int
    corrections: Stored[Corrections] | None = None
    """What it is asked again."""
    base: Path | None = None
    """What an adapter lies over; its bytes count as the contestant's."""


@dataclass(frozen=True)
class Sitting:
    """A loaded contestant with the test rows before it."""

    subject: Subject
    loaded: Loaded
    recipe: Recipe
    splits: Stored[Splits]
    rows: Sequence[Example]
    seed: int


@dataclass(frozen=True)
class Sat:
    """Seconds that all rows took together, how texts are answered, and what the artifact promises."""

    batched_seconds: float
    ask: Callable[[list[str]], list[str]]
    escalation: Escalation | None = None


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
    corrections: Stored[Corrections] | None = None,
    base: Path | None = None,
) -> Stored[Predictions]:
    """Answers the test rows with the weights in `path` (an adapter's: over `base`), and times single decisions.

    The digest of the weights covers the tokenizer and its chat template. Raises CorruptData for
    weights that cannot be loaded and InvalidInput for a prompt whose answers do not start at a
    token's start, or that is longer than the model's context.
    """
    key = answers_key(contestant, model_digest, splits, recipe, seed, corrections)
    subject = Subject(contestant, path, model_digest, size_bytes, corrections, base)
    return store.once(Predictions, key, lambda folder: _predict(subject, splits, recipe, compute, seed, folder))


def shots(sitting: Sitting) -> tuple[tuple[str, str], ...]:
    """Train rows (text and label) that an untuned model is shown: the same seeded draw for every row."""
    train = read_split(sitting.splits, "train")
    number = min(sitting.recipe.evaluate.shots, len(train))
    drawn = random.Random(sitting.seed).sample(train, number)  # noqa: S311 (not for secrets)
    return tuple((row.text, row.label) for row in drawn)


def _predict(
    subject: Subject, splits: Stored[Splits], recipe: Recipe, compute: Compute, seed: int, folder: Path
) -> Predictions:
    rows = sampled_test(splits.verify(), recipe.evaluate, seed)
    loaded = open_artifact(subject.path, compute, subject.base)
    if recipe.task == "classification" and (has_head(loaded.model) or loaded.native):
        from evals.heads import answer  # noqa: PLC0415
    elif recipe.task == "classification":
        from evals.harness import answer  # noqa: PLC0415 (lm-eval takes seconds to import)
    else:
        from evals.writing import answer  # noqa: PLC0415
    sat = answer(Sitting(subject, loaded, recipe, splits, rows, seed), folder)
    spec, labels = recipe.evaluate, splits.record.labels
    if spec.perturbations and subject.contestant in {scheme.name for scheme in recipe.candidates}:
        stress(folder, rows, labels, spec, seed, sat.ask)
    if subject.corrections is not None:
        ask_again(folder, subject.corrections, splits, sat.ask)
    latency = time_decisions(lambda text: sat.ask([text]), [row.text for row in rows], recipe.evaluate.latency_rows)
    return Predictions(
        contestant=subject.contestant,
        model_digest=subject.model_digest,
        splits_digest=splits.digest,
        labels=labels,
        task=recipe.task,
        rows=len(rows),
        p50_ms=latency.p50_ms,
        p95_ms=latency.p95_ms,
        size_bytes=subject.size_bytes,
        peak_memory_bytes=peak_memory_bytes() + _device_bytes(compute),
        load_seconds=loaded.load_seconds,
        decisions_per_second=len(rows) / sat.batched_seconds,
        escalation=sat.escalation,
    )


def _device_bytes(compute: Compute) -> int:
    if not compute.device.startswith("cuda"):
        return 0
    from supply_chain.inference import device_bytes  # noqa: PLC0415

    return device_bytes(compute)
