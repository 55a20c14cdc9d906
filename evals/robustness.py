"""What perturbed texts cost the candidate: asked in its worker process, measured with the scorecard."""

import random
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

from evals.estimate import Bench
from evals.perturb import perturbed
from evals.records import Perturbed, Stress
from supply_chain.data.table import read_table, write_table
from supply_chain.errors import EvidenceMismatch
from supply_chain.recipe.evaluate import Evaluate
from supply_chain.records import Example, Predictions
from supply_chain.store import Stored

FILE = "perturbed.parquet"
Ask = Callable[[list[str]], list[str]]


def stress(folder: Path, rows: Sequence[Example], labels: Sequence[str], spec: Evaluate, seed: int, ask: Ask) -> None:
    """Writes the answers to each kind of perturbed text, for a seeded sample of the rows."""
    drawn = random.Random(seed).sample(list(rows), min(spec.perturbed_rows, len(rows)))  # noqa: S311
    found = []
    for kind in spec.perturbations:
        texts = [perturbed(kind, row, labels, seed) for row in drawn]
        for row, answer in zip(drawn, ask(texts), strict=True):
            found.append(Perturbed(id=row.id, kind=kind, answer=answer))
    write_table(folder / FILE, Perturbed, found)


def drops(
    stored: Stored[Predictions], rows: Sequence[Example], answers: Sequence[str], bench: Bench, spec: Evaluate
) -> list[Stress]:
    """The metric on perturbed texts, and what it is less than on the same rows as they were written.

    Raises EvidenceMismatch when a perturbation that the recipe names was not asked.
    """
    if not spec.perturbations:
        return []
    given = read_table(stored.path / FILE, Perturbed) if FILE in stored.files else []
    plain = {row.id: (row, answer) for row, answer in zip(rows, answers, strict=True)}
    found = []
    for kind in spec.perturbations:
        asked = [p for p in given if p.kind == kind]
        if not asked or any(p.id not in plain for p in asked):
            raise EvidenceMismatch(
                f"{stored.record.contestant} was not asked {kind} texts of these rows: evaluate again"
            )
        here = [plain[p.id] for p in asked]
        sides = [row for row, _ in here]
        part = replace(
            bench, truth=[r.label for r in sides], groups=[r.group for r in sides], ids=[r.id for r in sides]
        )
        stressed = [p.answer for p in asked]
        found.append(
            Stress(
                kind=kind,
                rows=len(asked),
                estimate=part.estimate(spec.metric, stressed),
                change=part.difference(spec.metric, stressed, [answer for _, answer in here]),
            )
        )
    return found
