"""Drift: the index to the digit, chance told from change, and feedback that cannot be read."""

import json
import math
import random
from datetime import UTC, datetime, timedelta
from pathlib import Path

import polars as pl
import pytest

from evals.drift import drift_of, served
from evals.records import Prediction
from supply_chain.errors import InvalidInput
from supply_chain.recipe.automate import OnDrift

SPEC = OnDrift(path="feedback.jsonl")
NOW = datetime(2026, 5, 1, tzinfo=UTC)


def judged(**labels: int) -> list[Prediction]:
    """So many answers of each label; confidences from 0.5 to 1, evenly."""
    names = [name for name, count in labels.items() for _ in range(count)]
    return [
        Prediction(id=str(i), group="g", label=n, answer=n, confidence=0.5 + 0.5 * i / len(names), probabilities=[])
        for i, n in enumerate(names)
    ]


def test_the_index_is_the_textbooks():
    found = drift_of(("m", 1), judged(a=500, b=500), ["a"] * 800 + ["b"] * 200, [0.75] * 1000, 0.2)
    one, other = (800.5 / 1001, 200.5 / 1001), (500.5 / 1001, 500.5 / 1001)
    assert found.label_psi == pytest.approx(sum((x - y) * math.log(x / y) for x, y in zip(one, other, strict=True)))
    assert found.drifted and found.rows == 1000


def test_the_same_again_is_no_drift_and_few_rows_are_no_proof():
    before = judged(a=700, b=300)
    same = [p.answer for p in before], [p.confidence for p in before]
    found = drift_of(("m", 1), before, *same, 0.2)
    assert (found.label_psi, found.confidence_psi, found.p_value, found.drifted) == (0.0, 0.0, 1.0, False)
    rng, alarms = random.Random(1), 0
    for _ in range(200):
        drawn = rng.choices(before, k=50)
        alarms += drift_of(("m", 1), before, [p.answer for p in drawn], [p.confidence for p in drawn], 0.2).drifted
    assert alarms == 0
    large = drift_of(("m", 1), before, ["a"] * 8 + ["b"] * 8, [0.5 + i / 32 for i in range(16)], 0.1)
    assert large.label_psi >= 0.1 and not large.drifted


def test_less_sure_or_another_label_is_drift():
    before = judged(a=500, b=500)
    answers = ["a", "b"] * 300
    assert drift_of(("m", 1), before, answers, [0.55] * 600, 0.2).drifted
    found = drift_of(("m", 1), before, ["c"] * 600, [0.5 + i / 1200 for i in range(600)], 0.2)
    assert found.drifted and found.label_psi > 5


def row(**changes: object) -> dict[str, object]:
    return {"label": "a", "confidence": 0.9, "when": NOW.isoformat(), **changes}


@pytest.mark.parametrize("suffix", ["jsonl", "parquet"])
def test_only_what_the_champion_served_counts(tmp_path: Path, suffix: str):
    path = tmp_path / f"feedback.{suffix}"
    old = row(when=(NOW - timedelta(days=1)).isoformat(), label="b")
    if suffix == "jsonl":
        path.write_text("".join(json.dumps(r) + "\n" for r in (old, row(), row(when="2026-05-01T02:30:00+02:00"))))
    else:
        pl.DataFrame([old, row(), row(when="2026-05-01T02:30:00+02:00")]).write_parquet(path)
    assert served(path, SPEC, NOW) == (["a", "a"], [0.9, 0.9])


@pytest.mark.parametrize(
    "text",
    [json.dumps(row(confidence=1.5)), json.dumps(row(confidence="sure")), json.dumps(row(when="soon")),
     json.dumps({"label": "a"}), "not json", json.dumps(row(label=None))],
)  # fmt: skip
def test_feedback_that_cannot_be_read_is_named(tmp_path: Path, text: str):
    path = tmp_path / "feedback.jsonl"
    path.write_text(json.dumps(row()) + "\n" + text + "\n")
    with pytest.raises(InvalidInput, match=r"feedback\.jsonl"):
        served(path, SPEC, NOW - timedelta(days=1))
