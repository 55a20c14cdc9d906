"""Groups, near duplicates and time keep to their sides, and leaks are named."""

import json

import pytest
from data_project import sentence

from supply_chain.data.examples import read_split
from supply_chain.data.split import NAMES, check_leaks
from supply_chain.errors import InvalidInput
from supply_chain.records import Example


def example(line: int, **values: object) -> Example:
    return Example.model_validate(
        {"id": str(line), "text": sentence(line), "label": "a", "group": str(line), "file": "f", "line": line, **values}
    )


@pytest.mark.parametrize(
    ("what", "values"), [("group", {"group": "1"}), ("text", {"text": sentence(1).upper()}), ("id", {"id": "1"})]
)
def test_a_leak_names_both_rows(what, values):
    with pytest.raises(InvalidInput, match=f"the same {what} stands in two splits: train line 1 and test line 2"):
        check_leaks({"train": [example(1)], "test": [example(2, **values)]})


def test_a_near_duplicate_cluster_in_two_parts_is_a_leak():
    with pytest.raises(InvalidInput, match="near-duplicate cluster"):
        check_leaks({"train": [example(1, cluster=4)], "test": [example(2, cluster=4)]})
    assert check_leaks({"train": [example(1)], "test": [example(2)]})["near-duplicate cluster"] == 0


def test_splits_are_stratified_seeded_and_proven(project):
    rows = [{"text": sentence(n), "label": "rare" if n % 10 == 0 else "common"} for n in range(300)]
    made = project.curate(project.write("d.jsonl", rows))
    parts = project.split(made)
    assert parts.record.rows == {
        "train": {"common": 189, "rare": 21},
        "validation": {"common": 27, "rare": 3},
        "test": {"common": 54, "rare": 6},
    }
    assert project.split(made).digest == parts.digest
    assert project.split(made, seed=18).digest != parts.digest
    proof = json.loads((parts.path / "proof.json").read_text())
    assert proof["disjoint"] == {"id": 300, "group": 300, "text": 300, "near-duplicate cluster": 0}
    assert proof["exhaustive"]["test_rows"] == 60 and proof["exhaustive"]["highest_similarity"] == 0.85


def test_near_duplicates_follow_each_other_through_groups(project):
    rows = [{"text": sentence(n), "label": "ab"[n % 2], "who": n} for n in range(200)]
    for n in range(0, 200, 4):  # 4 rows: 0~1 by text, 1 and 2 by group
        rows[n + 1]["text"] = rows[n]["text"] + " again"
        rows[n + 2]["who"] = rows[n + 1]["who"]
    made = project.curate(project.write("d.jsonl", rows), group={"column": "who"})
    parts = project.split(made)
    side = {e.line: name for name in NAMES for e in read_split(parts, name)}
    assert all(side[n + 1] == side[n + 2] == side[n + 3] for n in range(0, 200, 4))
    assert set(side.values()) == set(NAMES)


def test_time_puts_the_latest_rows_into_test(project):
    rows = [
        {"text": sentence(n), "label": "ab"[n % 2], "day": f"2024-{n // 28 + 1:02}-{n % 28 + 1:02}"} for n in range(100)
    ]
    rows.append({"text": sentence(100), "label": "a", "day": "yesterday"})
    made = project.curate(project.write("d.jsonl", rows), split={"time": "day"})
    assert made.record.rejects == {"no_time": 1}
    parts = project.split(made, time="day")
    lines = {name: [e.line for e in read_split(parts, name)] for name in NAMES}
    assert max(lines["train"]) < min(lines["validation"]) <= max(lines["validation"]) < min(lines["test"])
    assert [len(lines[n]) for n in NAMES] == [70, 10, 20]


def test_sensitivity_and_zone_travel(project, rows):
    made = project.curate(project.write("d.jsonl", rows(60)), sensitivity="confidential", zone="eu")
    parts = project.split(made)
    assert (made.record.sensitivity, made.record.zone) == ("confidential", "eu")
    assert (parts.record.sensitivity, parts.record.zone) == ("confidential", "eu")
