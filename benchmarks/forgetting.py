"""What a specialist forgets when it learns new labels, with replay and without.

`python benchmarks/forgetting.py [LABELS ROWS]`: 30 intents of clinc150, drawn once, 60 train rows of each (150 and 100
are the whole data set): training sees one half of them, then goes on from those weights on the other half,
with a head that has grown. Forgetting is the accuracy on the first half's test rows before minus after (Chaudhry et
al. 2018, arXiv:1801.10112); afterwards they are told among twice as many labels. Stored full-precision bytes answer.
"""

import dataclasses
import os
import random
import sys
from typing import Any

os.environ.update({"HF_HUB_OFFLINE": "1", "TOKENIZERS_PARALLELISM": "false"})

from measure import data_folder, read_lines, report
from specialist import Made, Row, folded, job_of, make

from evals.forgetting import remembered
from evals.recall import answers_of, recall
from supply_chain.compute import scoring_compute
from supply_chain.data.examples import read_split
from supply_chain.job import Job
from supply_chain.recipe.continual import Continual
from supply_chain.records import Artifact, Splits
from supply_chain.store import Stored
from supply_chain.succession import succeed

LABELS, TRAIN_ROWS = 30, 60
VALIDATION_ROWS = 6
REPLAYS = (1 / 2, 1 / 3, 0.0)
TRAIN: dict[str, Any] = {
    "method": "head",
    "tune": "full",
    "pooling": "mean",
    "top_layers": 10,
    "epochs": 4,
    "batch_size": 32,
    "learning_rate": 2e-4,
    "label_smoothing": 0.1,
    "weight_decay": 0.01,
}


def main(labels: int = LABELS, rows: int = TRAIN_ROWS) -> None:
    """Writes `results/forgetting.json`."""
    first, second = halves(labels)
    before = make(half_job("forgetting_1", first, rows, TRAIN))
    arms = {f"replay {share:.2f}": after(before, second, rows, share) for share in REPLAYS}
    report(
        "forgetting",
        base=before.job.recipe.base,
        train=TRAIN,
        labels={"first": len(first), "second": len(second)},
        train_rows_a_label=rows,
        before={"minutes": minutes(before), "steps": before.trained.record.steps},
        **{name.replace(" ", "_"): figures for name, figures in arms.items()},
    )


def halves(number: int) -> tuple[list[str], list[str]]:
    """Two halves of as many labels drawn from the data set."""
    labels = sorted({row["label"] for row in read_lines(data_folder("clinc150") / "test.jsonl")})
    drawn = random.Random(17).sample(labels, min(number, len(labels)))
    return drawn[: len(drawn) // 2], drawn[len(drawn) // 2 :]


def half_job(name: str, labels: list[str], rows_a_label: int, train_block: dict[str, Any]) -> Job:
    """A job over so many train rows of each of `labels` and all their official test rows."""
    seen: set[str] = set()
    found: dict[str, list[Row]] = {}
    for part, number in (("test", 1000), ("val", VALIDATION_ROWS), ("train", rows_a_label)):
        found[part] = []
        for label in labels:
            rows = [row for row in read_lines(data_folder("clinc150") / f"{part}.jsonl") if row["label"] == label]
            fresh = [row for row in rows if folded(row["text"]) not in seen][:number]
            seen |= {folded(row["text"]) for row in fresh}
            found[part] += fresh
    random.Random(17).shuffle(found["train"])
    return job_of(name, found["train"], found["val"], found["test"], train_block)


def after(before: Made, labels: list[str], rows_a_label: int, replay: float) -> dict[str, Any]:
    """Trains on with the other labels, and asks both versions."""
    spec = Continual(replay=replay)
    raw = half_job("forgetting_2", labels, rows_a_label, {**TRAIN, "continual": spec.model_dump()})
    splits = succeed(raw.splits, before.merged, spec, None, raw.recipe.data, raw.settings.seed, raw.store)
    job = dataclasses.replace(raw, splits=splits)
    made = make(job)

    def recalls(model: Stored[Artifact], of: Stored[Splits]) -> Any:
        return recall(model, of, scoring_compute(job.settings), job.store)

    found = remembered({1: before.merged}, made.merged, splits, recalls, job.settings.seed, job.store).record
    (test,), average = found.tests, found.average
    assert average is not None
    said, rows = answers_of(recalls(made.merged, splits)), read_split(splits, "test")
    return {
        "replayed_rows": splits.record.succession.replayed if splits.record.succession else 0,
        "minutes": minutes(made),
        "steps": made.trained.record.steps,
        "old_labels": {name: round(estimate.mean, 4) for name, estimate in test.accuracy.items()},
        "old_rows": test.rows,
        "new_labels": round(sum(a == row.label for a, row in zip(said, rows, strict=True)) / len(rows), 4),
        "average_forgetting": round(average.mean, 4),
        "interval": [round(average.low, 4), round(average.high, 4)],
    }


def minutes(made: Made) -> float:
    """Minutes that training took."""
    return round(made.trained.record.seconds / 60, 1)


if __name__ == "__main__":
    main(*map(int, sys.argv[1:]))
