"""Every row is accounted for; a leak is an error that names its rows."""

from pathlib import Path

import pytest

from supply_chain.data.curate import curate
from supply_chain.data.examples import read_split
from supply_chain.data.source import locate
from supply_chain.data.split import check_leaks, split
from supply_chain.data.table import read_table
from supply_chain.errors import InvalidInput
from supply_chain.recipe.data import DataSpec
from supply_chain.records import Curated, Example, Reject
from supply_chain.store import Store, Stored

GOOD = [f"good thing {i},up,g{i % 20}" for i in range(40)] + [f"bad thing {i},down,g{i % 20}" for i in range(40)]


def curated(tmp_path: Path, store: Store, lines: list[str], **changes: object) -> Stored[Curated]:
    (tmp_path / "rows.csv").write_bytes("\n".join(["text,label,who", *lines]).encode("utf-8", "surrogateescape"))
    spec = DataSpec.model_validate(
        {
            "source": {"kind": "path", "path": "rows.csv"},
            "format": {"kind": "csv"},
            "group": {"column": "who"},
            "license": "CC0-1.0",
            **changes,
        }
    )
    return curate(spec, locate(spec.source, tmp_path / "downloads", root=tmp_path), store)


def test_each_reject_has_its_reason_and_line(tmp_path: Path, store: Store) -> None:
    bad = [" ,up,g1", "GOOD  thing 0,up,g2", "good thing 1,down,g3", "x" * 50 + ",up,g1", "ragged,up", "a\udcff,up,g1"]
    made = curated(tmp_path, store, GOOD + bad, rules={"max_chars": 40, "min_rows_per_label": 2})
    rejects = {(r.reason, r.line) for r in read_table(made.path / "rejects.parquet", Reject)}
    assert rejects == {
        ("too_short", 82), ("duplicate", 83), ("contradictory_label", 3), ("contradictory_label", 84),
        ("too_long", 85), ("malformed", 86), ("encoding", 87),
    }  # fmt: skip
    assert made.record.rows_read == len(GOOD) + len(bad) == made.record.rows_kept + len(rejects)


def test_same_rows_and_rules_give_the_same_object_and_other_rules_another(tmp_path: Path, store: Store) -> None:
    first = curated(tmp_path, store, GOOD)
    assert curated(tmp_path, store, GOOD).key == first.key
    assert curated(tmp_path, store, GOOD, rules={"max_chars": 30}).key != first.key
    assert curated(tmp_path, store, [*GOOD, "new,up,g1"]).key != first.key


def test_too_few_rows_say_which_label_and_store_nothing(tmp_path: Path, store: Store) -> None:
    with pytest.raises(InvalidInput, match=r"rare 1; needed: 2 labels with 10 rows each"):
        curated(tmp_path, store, [*GOOD, "odd one,rare,g1"])
    assert list(store.all(Curated)) == []


def test_a_missing_column_is_named_with_those_found(tmp_path: Path, store: Store) -> None:
    with pytest.raises(InvalidInput, match="no column body; found text, label, who"):
        curated(tmp_path, store, GOOD, text="body")


def test_groups_stay_on_one_side_and_the_seed_decides(tmp_path: Path, store: Store) -> None:
    made = curated(tmp_path, store, GOOD)
    spec = DataSpec.model_validate({"source": {"kind": "package", "package": "a==1", "sha256": "0" * 64, "member": "m"},
                                    "format": {"kind": "jsonl"}, "license": "x"}).split  # fmt: skip
    one = split(made, spec, 1, store)
    sides = {name: read_split(one, name) for name in ("train", "validation", "test")}
    groups = [{e.group for e in part} for part in sides.values()]
    assert sum(map(len, groups)) == 20 == len(set.union(*groups))
    assert sum(map(len, sides.values())) == made.record.rows_kept
    assert split(made, spec, 1, store).digest == one.digest
    assert split(made, spec, 2, store).digest != one.digest


@pytest.mark.parametrize(
    ("twin", "what"),
    [
        ({"id": "1"}, "id"), ({"group": "g1"}, "group"), ({"text": "SAME  text"}, "text"),
    ],
)  # fmt: skip
def test_a_leak_names_its_rows(twin: dict[str, str], what: str) -> None:
    one = Example(id="1", text="same text", label="up", group="g1", file="f", line=5)
    other = Example(id="2", text="other", label="up", group="g2", file="f", line=9).model_copy(update=twin)
    with pytest.raises(InvalidInput, match=f"the same {what} stands in two splits: train line 5 and test line 9"):
        check_leaks({"train": [one], "test": [other]})
