"""The card's figures, what changed between two data sets, and what a killed run leaves behind."""

import json
import os
import signal
import subprocess
import sys

import pytest
from data_project import sentence

from supply_chain.data.diff import data_diff
from supply_chain.data.report import data_card, write_report
from supply_chain.errors import InvalidInput
from supply_chain.settings import PROJECT


def test_the_card_states_every_step_and_the_page_says_the_same(project, rows):
    data = [*rows(60), {"text": "", "label": "a"}, {"text": sentence(0), "label": "a"}]
    data[7]["text"] = data[5]["text"] + " again"
    made = project.curate(project.write("d.jsonl", data))
    parts = project.split(made)
    card = data_card(made, parts)
    assert card["waterfall"] == [
        {"step": "rows read", "rows": 62, "lost": 0},
        {"step": "duplicate", "rows": 61, "lost": 1},
        {"step": "too_short", "rows": 60, "lost": 1},
    ]
    assert [(label["label"], label["total"]) for label in card["labels"]] == [("a", 30), ("b", 30)]
    assert [(c["rows"], [e["line"] for e in c["examples"]]) for c in card["clusters"]] == [(2, [6, 8])]
    assert sum(row["rows"] for row in card["lengths"]) == 60
    page = write_report(made, parts, project.root / "out")
    assert json.loads((project.root / "out/data.json").read_text()) == json.loads(json.dumps(card))
    text = page.read_text()
    assert "60 kept of 62 read" in text and "http://" not in text and "https://" not in text and "<script" not in text
    assert "light dark" in text
    other = project.curate(project.write("o.jsonl", rows(40)))
    with pytest.raises(InvalidInput, match="the splits were made from"):
        data_card(other, parts)


def test_the_diff_names_what_was_added_removed_and_relabelled(project, rows):
    before = project.curate(project.write("a.jsonl", rows(60)))
    data = rows(62)[2:]
    data[5]["label"] = "a"  # line 8 of the first file, line 6 of the second
    data[6]["text"] = data[6]["text"].upper()  # the same text
    after = project.curate(project.write("b.jsonl", data[::-1]))
    diff = data_diff(before, after)
    assert (diff.unchanged, diff.added, diff.removed, diff.relabelled) == (57, 2, 2, 1)
    assert [(c.text, c.before, c.after, c.place) for c in diff.relabelled_rows] == [
        (sentence(7), "b", "a", "b.jsonl line 55")
    ]
    assert [c.text for c in diff.removed_rows] == [sentence(0), sentence(1)]
    assert diff.same_rules and 0 < diff.label_drift < 0.1 and diff.vocabulary_drift > 0
    same = data_diff(before, before)
    assert (same.unchanged, same.label_drift, same.length_drift, same.vocabulary_drift) == (60, 0, 0, 0)


SCRIPT = """
import sys
from pathlib import Path
from supply_chain.data import curate as room
from supply_chain.data.source import locate
from supply_chain.recipe.data import DataSpec
from supply_chain.store import Store
root = Path(sys.argv[1])
whole = room.judge_together
def slow(*args):
    print("judging", flush=True)
    import time; time.sleep(60)
    return whole(*args)
room.judge_together = slow
spec = DataSpec.model_validate({"source": {"kind": "path", "path": "d.jsonl"}, "license": "MIT"})
room.curate(spec, locate(spec.source, root / "downloads", root), Store(root / "store"))
"""


def test_a_killed_curation_leaves_nothing_behind_and_restarts(project, rows):
    project.write("d.jsonl", rows(60))
    environment = {**os.environ, "PYTHONPATH": str(PROJECT)}
    command = [sys.executable, "-c", SCRIPT, str(project.root)]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=environment)
    assert process.stdout is not None and process.stdout.readline() == "judging\n"
    assert list((project.root / "store/tmp").iterdir())
    process.send_signal(signal.SIGKILL)
    process.wait()
    assert not (project.root / "store/curated").exists()
    made = project.curate("d.jsonl")
    assert made.record.rows_kept == 60
    assert not list((project.root / "store/tmp").iterdir())
    assert sorted(p.name for p in made.path.iterdir()) == [
        "entry.json",
        "examples.parquet",
        "rejects.parquet",
        "rules.json",
    ]
