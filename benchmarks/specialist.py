"""Makes a specialist from a public data set through a real recipe, with the chain's own functions.

Shared by the benchmarks that train: the recipe is written to a project of its own below the state folder,
so that what one benchmark has made (and the base model) is there for the next.
"""

import csv
import random
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml
from measure import data_folder, read_lines

from supply_chain.artifacts import merge, quantize
from supply_chain.catalogue import load_catalogue
from supply_chain.data.curate import curate
from supply_chain.data.source import locate
from supply_chain.data.split import split
from supply_chain.hub import provide_base
from supply_chain.job import Job
from supply_chain.recipe import Recipe
from supply_chain.records import Artifact, Trained
from supply_chain.settings import load_settings
from supply_chain.store import Store, Stored
from supply_chain.tracking import NoTracker
from supply_chain.training import train

Row = dict[str, str]
VALIDATION_ROWS = 6
BANKING77: dict[str, Any] = {
    "method": "head",
    "tune": "full",
    "pooling": "mean",
    "top_layers": 20,
    "epochs": 8,
    "batch_size": 32,
    "learning_rate": 2e-4,
    "label_smoothing": 0.1,
    "weight_decay": 0.01,
    "checkpoint_steps": 100,
    "stopping": {"patience": 3},
}
CLINC150 = {**BANKING77, "epochs": 5, "stopping": {"patience": 3, "rows": 600}}


@dataclass(frozen=True)
class Made:
    """A job and what it made."""

    job: Job
    trained: Stored[Trained]
    merged: Stored[Artifact]

    def told(self) -> dict[str, Any]:
        """How it was made, as results say it."""
        record, rows = self.trained.record, self.job.splits.record.rows
        return {
            "base": self.job.recipe.base,
            "rows": {name: sum(found.values()) for name, found in rows.items()},
            "training_minutes": round(record.seconds / 60, 1),
            "steps": record.steps,
            "compute": record.compute.model_dump(),
            "validation": {point.step: round(point.value, 4) for point in record.validation},
            "kept_step": record.kept_step,
        }

    def in_4_bits(self) -> Stored[Artifact]:
        """The same weights in NF4."""
        return quantize(self.job, self.merged, self.job.recipe.quantize[0])


def banking77(train_block: dict[str, Any], rows: int | None = None, name: str = "banking77") -> Job:
    """The official job of banking77; 6 rows of each label validate."""
    return official("banking77", train_block, rows, name)


def official(data_set: str, train_block: dict[str, Any], rows: int | None = None, name: str | None = None) -> Job:
    """A job over the full train set and the official test set; the official validation set, or 6 rows of each label,
    validate.

    A text that stands twice in the train file, or also in a held-out one, trains once or not at all.
    `rows` takes a sample of the train set, for trying settings.
    """
    folder = data_folder(data_set)
    test, given = read_lines(folder / "test.jsonl"), folder / "val.jsonl"
    validation = read_lines(given) if given.exists() else []
    seen = {folded(row["text"]) for row in test}
    validation, kept = unseen(validation, seen), unseen(read_lines(folder / "train.jsonl"), seen)
    random.Random(17).shuffle(kept)
    if not given.exists():
        validation, kept = first_of_each(kept, VALIDATION_ROWS)
    return job_of(name or data_set, kept[:rows], validation, test, train_block)


def first_of_each(rows: Iterable[Row], number: int) -> tuple[list[Row], list[Row]]:
    """The first `number` rows of each label, and the others."""
    first, others, seen = [], [], Counter[str]()
    for row in rows:
        seen[row["label"]] += 1
        (first if seen[row["label"]] <= number else others).append(row)
    return first, others


def unseen(rows: Iterable[Row], seen: set[str]) -> list[Row]:
    """Rows whose text is not in `seen`, which grows by them."""
    kept = []
    for row in rows:
        if folded(row["text"]) not in seen:
            seen.add(folded(row["text"]))
            kept.append(row)
    return kept


def folded(text: str) -> str:
    """Text as the leak check compares it: case and white space do not count."""
    return " ".join(text.casefold().split())


def make(job: Job) -> Made:
    """Trains and merges, or finds what was made before."""
    trained = train(job, lambda key: NoTracker())
    return Made(job, trained, merge(job, trained))


def job_of(name: str, train: list[Row], validation: list[Row], test: list[Row], train_block: dict[str, Any]) -> Job:
    """A job whose splits are these rows; texts must differ between them."""
    rows = [*train, *validation, *test]
    shares = (len(validation) / len(rows), len(test) / len(rows))
    settings = load_settings()
    root = settings.home / "benchmarks"
    path = root / f"{name}.csv"
    _write(path, rows)
    recipe = Recipe.model_validate(yaml.safe_load(_recipe(name, path, shares)) | {"train": train_block})
    catalogue, store = load_catalogue(settings), Store.of(settings)
    project = settings.model_copy(update={"root": root})
    source = locate(recipe.data.source, settings.downloads, root)
    splits = split(curate(recipe.data, source, store), recipe.data.split, settings.seed, store)
    base = provide_base(catalogue.get(recipe.base), settings.downloads, store)
    return Job(recipe, base, splits, project, store)


def _write(path: Path, rows: Iterable[Row]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, ["text", "label", "place"])
        writer.writeheader()
        writer.writerows({**row, "place": place} for place, row in enumerate(rows))


def _recipe(name: str, path: Path, shares: tuple[float, float]) -> str:
    return f"""\
name: {name}
description: A public data set with its official test rows, for a benchmark.
owner: team:benchmarks
data:
  source: {{kind: path, path: {path.name}}}
  format: {{kind: csv}}
  license: CC-BY
  rules: {{duplicates: keep, contradictions: keep, near_duplicates: {{action: keep}}}}
  split: {{validation: {shares[0]!r}, test: {shares[1]!r}, time: place}}
base: smollm2-135m-instruct
prompt: {{kind: plain, after: ""}}
train: {{method: head}}
evaluate: {{metric: accuracy, kpis: {{volume_per_month: 1000, mistake_usd: 0.01}}}}
promote: {{minimum: 0.9}}
route: {{task: {name}}}
"""
