"""The promised risk on clinc150, with questions out of scope: `python benchmarks/escalation.py`.

A specialist for the 150 intents and the label `oos`, made by the chain's own functions from a third of the train rows
(four of SmolLM2's layers are trained, so that all of it takes about 15 minutes on one core). Its threshold is chosen
on the validation rows, where 1 of 31 questions is out of scope, and stored with the artifact; then it is held against
every second test row with as many out of scope for each in scope. All 1,000 test questions out of scope say how many
are caught. What is passed on costs a tenth of a mistake.

The promise is that of the answers kept at most `max_risk` are wrong, so the interval promised reaches from 0 to it. It
is kept unless the whole 95 % interval of the test's own risk lies beyond (`broken`); it is `shown` where all of that
interval lies within. A run in which nothing could be promised keeps nothing, and counts as not kept.
"""

import os

os.environ.update({"HF_HUB_OFFLINE": "1", "TOKENIZERS_PARALLELISM": "false"})

from collections.abc import Sequence
from dataclasses import replace

from banking77 import predicted
from measure import data_folder, read_lines, report
from specialist import Row, job_of, make, unseen

from evals.confidence import confidence_of
from evals.costs import costs_of
from evals.estimate import Bench
from evals.kpi import mistakes_usd
from evals.outside import outside_of
from evals.predictions import read_predictions
from evals.records import Prediction
from supply_chain.escalation import Stakes
from supply_chain.job import Job
from supply_chain.pricing import passed_on_usd
from supply_chain.recipe.evaluate import Evaluate

OUT_OF_SCOPE = "oos"
TRAIN = {
    "method": "head", "tune": "full", "pooling": "mean", "top_layers": 4, "epochs": 4, "batch_size": 32,
    "learning_rate": 3e-4, "label_smoothing": 0.05, "checkpoint_steps": 200,
}  # fmt: skip
EVALUATE = {
    "metric": "accuracy", "latency_rows": 10, "escalation": {"max_risk": 0.05}, "out_of_scope": OUT_OF_SCOPE,
    "kpis": {"volume_per_month": 100_000, "mistake_usd": 0.5, "escalation_usd": 0.05},
}  # fmt: skip


def main() -> None:
    """Prints one JSON line and keeps it under `benchmarks/results/escalation.json`."""
    job = clinc150()
    made = make(job)
    figures, stored = predicted(job, "specialist", made.merged)
    promise, answers = stored.record.escalation, read_predictions(stored)
    assert promise is not None
    alike = thinned(answers, 30)
    bench, said, sure = on(alike, job.labels)
    found = confidence_of(bench, said, sure, promise)
    kept, kpis = found.kept, job.recipe.evaluate.kpis
    assert kept is not None
    stakes = Stakes(mistakes_usd(bench, kpis, said).tolist(), passed_on_usd(kpis) or 0.0)
    costs = costs_of(bench, sure, stakes, promise)
    outside = outside_of(*on(answers, job.labels), OUT_OF_SCOPE, promise)
    assert outside.caught and outside.mistaken and costs
    report(
        "escalation",
        data="clinc150",
        train=TRAIN,
        rows={name: sum(rows.values()) for name, rows in job.splits.record.rows.items()},
        training_minutes=round(made.trained.record.seconds / 60, 1),
        specialist=figures,
        promise=promise.model_dump(),
        test_rows_alike=len(alike),
        test_risk=kept.risk.model_dump() if kept.risk else None,
        promise_is_kept=kept.risk is None or kept.risk.mean <= promise.max_risk,
        escalated=kept.escalated.model_dump(),
        calibration_error=round(found.calibration_error, 4),
        out_of_scope=outside.model_dump(),
        usd_per_1k={name: getattr(costs, name).model_dump() for name in ("at_cheapest", "at_promise", "all_kept")},
    )


def clinc150() -> Job:
    """A third of the train rows, all of validation, every second test row; questions out of scope in each."""
    folder, seen = data_folder("clinc150"), set()

    def rows(*names: str, step: int = 1) -> list[Row]:
        return unseen([row for name in names for row in read_lines(folder / f"{name}.jsonl")[::step]], seen)

    test = [*rows("test", step=2), *rows("oos_test")]
    validation = rows("val", "oos_val")
    train = [*rows("train", step=3), *rows("oos_train")]
    job = job_of("escalation", train, validation, test, TRAIN)
    recipe = job.recipe.model_copy(update={"evaluate": Evaluate.model_validate(EVALUATE)})
    return replace(job, recipe=recipe)


def thinned(answers: Sequence[Prediction], each: int) -> list[Prediction]:
    """All rows in scope, and for each `each` of them one out of scope."""
    inside = [a for a in answers if a.label != OUT_OF_SCOPE]
    outside = [a for a in answers if a.label == OUT_OF_SCOPE]
    return [*inside, *outside[: len(inside) // each]]


def on(answers: Sequence[Prediction], labels: list[str]) -> tuple[Bench, list[str], list[float]]:
    """Rows to measure on, what was said and how surely."""
    bench = Bench([a.label for a in answers], [a.group for a in answers], labels, 1000, 17)
    return bench, [a.answer for a in answers], [a.confidence for a in answers]


if __name__ == "__main__":
    main()
