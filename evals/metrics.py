"""What is counted in an answer, and the metrics that are made of the counts.

Only counts are resampled, so each metric is a function of sums: [draws, columns] to [draws].
"""

import json
from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import NDArray

from supply_chain.errors import InvalidInput
from supply_chain.identity import canonical_json
from supply_chain.recipe.data import Task

Floats = NDArray[np.float64]
Places = tuple[NDArray[np.intp], NDArray[np.intp]]
Statistic = Callable[[Floats], Floats]

TITLES = {
    "macro_f1": "macro-F1",
    "accuracy": "accuracy",
    "exact_match": "exact match",
    "micro_f1": "micro-F1",
    "rouge_l": "ROUGE-L",
    "chrf": "chrF",
    "bleu": "BLEU",
    "similarity": "likeness of meaning",
    "acceptable": "acceptable answers",
    "valid": "valid answers",
}
_WHOLE = 3
"""Columns of written answers that speak of the row: exactly right, readable, rows."""


def tally(task: Task, labels: Sequence[str], truth: Sequence[str], answers: Sequence[str]) -> tuple[int, Places]:
    """How many columns there are, and where (row, column) to count one.

    The last columns are right, answered and true by label; the empty answer is none of them, and wrong. Raises
    InvalidInput for rows without an answer, and for a class that is not known.
    """
    if len(answers) != len(truth):
        raise InvalidInput(f"{len(answers)} answers to {len(truth)} rows; expected one for each row")
    return _classes(labels, truth, answers) if task == "classification" else _items(labels, truth, answers)


def by_label(counts: Floats, names: int) -> tuple[Floats, Floats, Floats]:
    """Right, answered and true by label: three times [draws, names]."""
    right, answered, true = np.split(counts[:, -3 * names :], 3, axis=1)
    return right, answered, true


def statistics(task: Task, labels: Sequence[str]) -> dict[str, Statistic]:
    """Every metric of a task; the first of `recipe.tasks.METRICS` decides by default."""
    if task == "classification":
        n = len(labels)
        return {"macro_f1": lambda c: _macro_f1(c, n, empty=0.0), "accuracy": lambda c: _share(by_label(c, n)[0], c, n)}
    n = len(labels) + 1
    return {
        "exact_match": lambda c: c[:, 0] / c[:, 2],
        "micro_f1": lambda c: _f1(*(part.sum(axis=1) for part in by_label(c, n))),
        "macro_f1": lambda c: _macro_f1(c, n, empty=np.nan),
        "valid": lambda c: c[:, 1] / c[:, 2],
    }


def items(label: str) -> dict[str, str]:
    """Names that an answer gives, each with its value: fields with theirs, labels with none."""
    value = json.loads(label) if label else {}
    return {k: canonical_json(v) for k, v in value.items()} if isinstance(value, dict) else dict.fromkeys(value, "")


def _classes(labels: Sequence[str], truth: Sequence[str], answers: Sequence[str]) -> tuple[int, Places]:
    position = {label: i for i, label in enumerate(labels)}
    unknown = sorted(({*answers} - {""} | {*truth}) - position.keys())
    if unknown:
        raise InvalidInput(f"labels not known: {', '.join(unknown)}; expected one of {', '.join(labels)} for each row")
    n, rows = len(labels), np.arange(len(truth))
    true, answered = (np.array([position.get(label, -1) for label in side], dtype=np.intp) for side in (truth, answers))
    right, said = true == answered, answered >= 0
    places = ((rows[right], true[right]), (rows[said], n + answered[said]), (rows, 2 * n + true))
    return 3 * n, (np.concatenate([p[0] for p in places]), np.concatenate([p[1] for p in places]))


def _items(labels: Sequence[str], truth: Sequence[str], answers: Sequence[str]) -> tuple[int, Places]:
    """Names that are no label share the last place: they are wrong whatever they are called."""
    position = {label: i for i, label in enumerate(labels)}
    n, found = len(labels) + 1, []
    for row, (true, answer) in enumerate(zip(truth, answers, strict=True)):
        found += [(row, column) for column, counts in enumerate((true == answer, answer != "", True)) if counts]
        expected, said = items(true), items(answer)
        columns = [_WHOLE + position[k] for k, v in said.items() if expected.get(k) == v]
        columns += [_WHOLE + n + position.get(k, n - 1) for k in said]
        columns += [_WHOLE + 2 * n + position.get(k, n - 1) for k in expected]
        found += [(row, column) for column in columns]
    at = np.array(found, dtype=np.intp).reshape(-1, 2)
    return _WHOLE + 3 * n, (at[:, 0], at[:, 1])


def _share(right: Floats, counts: Floats, names: int) -> Floats:
    return np.asarray(right.sum(axis=1) / by_label(counts, names)[2].sum(axis=1))


def _f1(right: Floats, answered: Floats, true: Floats) -> Floats:
    size = answered + true
    return np.asarray(np.divide(2 * right, size, out=np.zeros_like(right), where=size > 0))


def _macro_f1(counts: Floats, names: int, empty: float) -> Floats:
    """F1 averaged over labels. One that is neither true nor answered counts `empty`: 0 as in scikit-learn."""
    right, answered, true = by_label(counts, names)
    size = answered + true
    return np.asarray(np.nanmean(np.divide(2 * right, size, out=np.full_like(right, empty), where=size > 0), axis=1))
