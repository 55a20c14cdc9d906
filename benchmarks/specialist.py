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
    "epochs": 4,
    "batch_size": 32,
    "learning_rate": 2e-4,
    "label_smoothing": 0.1,
    "weight_decay": 0.01,
    "checkpoint_steps": 100,
    "stopping": {"patience": 2},
}


@dataclass(frozen=True)
class Made:
    """A job and what it made."""

    job: Job
    trained: Stored[Trained]
    merged: Stored[Artifact]

    def in_4_bits(self) -> Stored[Artifact]:
        """The same weights in NF4."""
        return quantize(self.job, self.merged, self.job.recipe.quantize[0])


def banking77(train_block: dict[str, Any], rows: int | None = None, name: str = "banking77") -> Job:
    """A job over the full train set (6 rows of each label validate) and the official test set.

    A text that stands twice in the train file, or in the test file, too, trains once or not at all.
    `rows` takes a sample of the train set, for trying settings.
    """
    folder = data_folder("banking77")
    test = read_lines(folder / "test.jsonl")
    seen = {folded(row["text"]) for row in test}
    kept = []
    for row in read_lines(folder / "train.jsonl"):
        if folded(row["text"]) not in seen:
            seen.add(folded(row["text"]))
            kept.append(row)
    random.Random(17).shuffle(kept)
    validation, seen_labels = [], Counter[str]()
    for row in kept:
        seen_labels[row["label"]] += 1
        if seen_labels[row["label"]] <= VALIDATION_ROWS:
            validation.append(row)
    texts = {row["text"] for row in validation}
    train_rows = [row for row in kept if row["text"] not in texts][:rows]
    total = len(train_rows) + len(validation) + len(test)
    shares = (len(validation) / total, len(test) / total)
    return _job(name, [*train_rows, *validation, *test], shares, train_block)


def folded(text: str) -> str:
    """Text as the leak check compares it: case and white space do not count."""
    return " ".join(text.casefold().split())


def make(job: Job) -> Made:
    """Trains and merges, or finds what was made before."""
    trained = train(job, lambda key: NoTracker())
    return Made(job, trained, merge(job, trained))


def _job(name: str, rows: Iterable[Row], shares: tuple[float, float], train_block: dict[str, Any]) -> Job:
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
