"""Test rows and answers to them, as files: what goes into a contestant and what comes out."""

import math
import random
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from evals.records import Prediction
from supply_chain.data.examples import read_split
from supply_chain.data.table import read_table, write_table
from supply_chain.errors import EvidenceMismatch, InvalidInput
from supply_chain.recipe.evaluate import Evaluate
from supply_chain.records import Example, Predictions, Splits
from supply_chain.store import Stored

_FILE = "predictions.parquet"


@dataclass(frozen=True)
class Answer:
    """A written answer in canonical form (empty if there is none), its probability, and what was written."""

    answer: str
    confidence: float
    written: str


def sampled_test(splits: Stored[Splits], spec: Evaluate, seed: int) -> list[Example]:
    """The test split, or a seeded sample of `max_rows` of it, in the file's order.

    Raises InvalidInput when the sample has no row of some label.
    """
    rows = read_split(splits, "test")
    if spec.max_rows is None or spec.max_rows >= len(rows):
        return rows
    chosen = sorted(random.Random(seed).sample(range(len(rows)), spec.max_rows))  # noqa: S311 (not for secrets)
    sample = [rows[i] for i in chosen]
    missing = {row.label for row in rows} - {row.label for row in sample}
    if missing and splits.record.task == "classification":
        raise InvalidInput(
            f"evaluate.max_rows: a sample of {spec.max_rows} of {len(rows)} test rows has no "
            f"{', '.join(sorted(missing))}; raise it or leave it out"
        )
    return sample


def write_predictions(
    folder: Path, rows: Sequence[Example], labels: Sequence[str], probabilities: Sequence[Sequence[float]]
) -> None:
    """Writes the likeliest label of each row; `probabilities` is [rows, labels].

    Raises InvalidInput that names the row when a probability is no number.
    """
    predictions = []
    for row, shares in zip(rows, probabilities, strict=True):
        if len(shares) != len(labels) or not all(math.isfinite(share) for share in shares):
            raise InvalidInput(
                f"row {row.id}: no answer, the labels' probabilities are {list(shares)}; "
                "expected one finite number a label. Check the model's weights and compute dtype."
            )
        best = max(range(len(labels)), key=lambda i: shares[i])
        predictions.append(
            Prediction(
                id=row.id,
                group=row.group,
                label=row.label,
                answer=labels[best],
                confidence=float(shares[best]),
                probabilities=[float(share) for share in shares],
            )
        )
    write_table(folder / _FILE, Prediction, predictions)


def write_answers(folder: Path, rows: Sequence[Example], answers: Sequence[Answer]) -> None:
    """Writes one written answer a row. Raises InvalidInput that names the row when its confidence is no number."""
    predictions = []
    for row, answer in zip(rows, answers, strict=True):
        if not math.isfinite(answer.confidence):
            raise InvalidInput(
                f"row {row.id}: no answer, the likelihood of what was written is no number. "
                "Check the model's weights and compute dtype."
            )
        predictions.append(
            Prediction(
                id=row.id,
                group=row.group,
                label=row.label,
                answer=answer.answer,
                confidence=answer.confidence,
                probabilities=[],
                written=answer.written,
            )
        )
    write_table(folder / _FILE, Prediction, predictions)


def read_predictions(stored: Stored[Predictions]) -> list[Prediction]:
    """One contestant's answers.

    Raises EvidenceMismatch when rows are missing or double, InvalidInput that names the row when
    one has no answer.
    """
    predictions, name = read_table(stored.path / _FILE, Prediction), stored.record.contestant
    if len({p.id for p in predictions}) != stored.record.rows or len(predictions) != stored.record.rows:
        raise EvidenceMismatch(f"{name}: {len(predictions)} answers for {stored.record.rows} rows; evaluate it again")
    for p in predictions if stored.record.task == "classification" else ():
        silent = stored.record.paid is not None and not p.answer  # a reply that holds no label is a wrong answer
        if p.answer not in stored.record.labels and not silent:
            known = ", ".join(stored.record.labels)
            raise InvalidInput(f"{name}: row {p.id} has no answer (found {p.answer!r}, expected one of {known})")
    return predictions
