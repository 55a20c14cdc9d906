"""What a teacher says about a row, and what becomes of the row where truth says something else."""

import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from supply_chain.errors import InvalidInput
from supply_chain.identity import canonical_json
from supply_chain.recipe.distill import SequenceObjective
from supply_chain.records import Example

_FILE = "answers.jsonl"


@dataclass(frozen=True)
class Verdict:
    """A teacher's answer (see `Example.label`; empty: none that can be read) and how sure it is, from 0 to 1."""

    answer: str
    confidence: float


def write_verdicts(folder: Path, verdicts: Iterable[Verdict]) -> None:
    """Writes `answers.jsonl`: a line a row."""
    lines = (canonical_json(vars(verdict)) + "\n" for verdict in verdicts)
    (folder / _FILE).write_text("".join(lines), encoding="utf-8")


def read_verdicts(folder: Path) -> list[Verdict]:
    """What `write_verdicts` wrote."""
    return [Verdict(**json.loads(line)) for line in (folder / _FILE).read_text(encoding="utf-8").split("\n") if line]


def followed(rows: Sequence[Example], verdicts: Sequence[Verdict], objective: SequenceObjective) -> list[Example]:
    """The rows with the answers that a student is to learn. Raises InvalidInput when none is left."""
    kept = []
    for row, verdict in zip(rows, verdicts, strict=True):
        sure = verdict.confidence >= objective.confidence
        if verdict.answer == row.label or objective.disagreement == "truth" or not sure:
            kept.append(row)
        elif objective.disagreement == "teacher" and verdict.answer:
            kept.append(row.model_copy(update={"label": verdict.answer}))
    if not kept:
        raise InvalidInput(
            "train.objective: the teacher agrees with the truth on no row; set disagreement to truth or teacher, "
            "or choose another teacher"
        )
    return kept
