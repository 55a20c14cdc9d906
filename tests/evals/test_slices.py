"""Slices: which rows they hold, and what is said of few or none."""

import pytest

from evals.estimate import Bench
from evals.slices import chosen, lengths, score_slices
from supply_chain.data.curate import curate
from supply_chain.data.examples import read_split
from supply_chain.data.source import locate
from supply_chain.data.split import split
from supply_chain.errors import InvalidInput
from supply_chain.recipe import load_recipe
from supply_chain.recipe.evaluate import SliceSpec
from supply_chain.recipe.part import Surroundings
from supply_chain.records import Example
from tests.conftest import write_tiny_project

TEXTS = ["a?", "bb", "ccc?", "dddd", "eeeee?", "ffffff", "ggggggg", "hhhhhhhh?", "i" * 9]
ROWS = [
    Example(id=str(i), text=text, label="ab"[i % 2], group=f"g{i}", file="", line=i) for i, text in enumerate(TEXTS)
]
BENCH = Bench([r.label for r in ROWS], [r.group for r in ROWS], ["a", "b"], 200, 17)


def test_rows_meet_every_condition():
    assert chosen(ROWS, SliceSpec(name="q", matches=r"\?$")).tolist() == [t.endswith("?") for t in TEXTS]
    both = SliceSpec(name="q", matches=r"\?", labels=["a"], min_chars=3, max_chars=6)
    assert [r.text for r, here in zip(ROWS, chosen(ROWS, both), strict=True) if here] == ["ccc?", "eeeee?"]
    assert chosen(ROWS, SliceSpec(name="all")).all()


def test_a_pattern_that_is_none_is_a_fault_of_the_recipe():
    with pytest.raises(ValueError, match="not a regular expression"):
        SliceSpec(name="bad", matches="(")


def test_thirds_by_length_hold_every_row_once():
    found = dict(lengths(ROWS))
    assert list(found) == ["0 to 4 characters", "5 to 6 characters", "7 to 9 characters"]
    assert sum(mask.astype(int) for mask in found.values()).tolist() == [1] * 9
    same = [row.model_copy(update={"text": "same"}) for row in ROWS]
    assert [name for name, _ in lengths(same)] == ["0 to 4 characters"]


def test_each_slice_has_its_estimate_and_its_rows_won_and_lost():
    answers = [row.label for row in ROWS]
    rival = ["b" if i < 4 else row.label for i, row in enumerate(ROWS)]
    specs = [SliceSpec(name="nothing", matches="z"), SliceSpec(name="one", max_chars=2, labels=["a"])]
    short, middle, long, nothing, one = score_slices(BENCH, ROWS, specs, "accuracy", answers, rival)
    assert (short.rows, short.estimate.mean, short.wins, short.losses) == (4, 1.0, 2, 0)
    assert (middle.wins, long.wins, long.p_value) == (0, 0, 1.0)
    assert short.p_value == min(1.0, 5 * 0.25)  # mid-P of 2 to 0 is 0.25, five slices
    assert (nothing.rows, nothing.estimate) == (0, None)
    assert (one.rows, one.estimate) == (1, None)


def test_without_a_rival_nothing_is_won():
    found = score_slices(BENCH, ROWS, [], "accuracy", [row.label for row in ROWS], None)
    assert {(s.wins, s.losses, s.p_value) for s in found} == {(0, 0, 1.0)}


def test_answers_must_fit(recwarn):
    with pytest.raises(InvalidInput, match="8 answers to 9 rows"):
        BENCH.estimates(["a"] * 8)


def test_rows_by_source_metadata_language_and_expression():
    rows = []
    for i, row in enumerate(ROWS):
        meta = '{"channel":"mail"}' if i < 3 else '{"channel":"chat"}'
        rows.append(row.model_copy(update={"file": f"2026-0{i % 2}/x.jsonl", "meta": meta}))
    assert chosen(rows, SliceSpec(name="s", source="2026-00/*")).tolist() == [i % 2 == 0 for i in range(9)]
    mail = SliceSpec(name="m", metadata={"channel": ["mail", "fax"]})
    assert chosen(rows, mail).tolist() == [i < 3 for i in range(9)]
    where = SliceSpec(name="w", where='channel == "mail" and chars > 2 and label in ["a"]')
    assert chosen(rows, where).tolist() == [False, False, True] + [False] * 6
    assert not chosen(ROWS, mail).any()


def test_a_row_that_an_expression_cannot_be_asked_of_is_named():
    with pytest.raises(InvalidInput, match=r"row 0: slice 'w' cannot be told \(text > 3\)"):
        chosen(ROWS, SliceSpec(name="w", where="text > 3"))
    with pytest.raises(InvalidInput, match="row 0: slice 'w' cannot be told"):
        chosen(ROWS, SliceSpec(name="w", where='channel == "mail"'))


def test_rows_by_language():
    pytest.importorskip("py3langid")
    texts = ["The weather is lovely today, is it not?", "Das Wetter ist heute wirklich sehr schön, nicht wahr?"]
    rows = [Example(id=t, text=t, label="a", group=t, file="", line=1) for t in texts]
    assert chosen(rows, SliceSpec(name="de", language="de")).tolist() == [False, True]


def test_columns_named_in_the_data_reach_the_slices(tmp_path, store):
    root = tmp_path / "p"
    path = write_tiny_project(root)
    path.write_text(path.read_text().replace("  license", "  metadata: [review]\n  license"))
    recipe = load_recipe(path, Surroundings(root=root, bases=("tiny",)))
    source = locate(recipe.data.source, tmp_path / "downloads", root=root)
    splits = split(curate(recipe.data, source, store), recipe.data.split, 17, store)
    rows = read_split(splits, "test")
    names = {row.group for row in rows}
    assert all(row.meta == f'{{"review":"{row.group}"}}' for row in rows)
    one = min(names)
    assert chosen(rows, SliceSpec(name="one", metadata={"review": [one]})).sum() == 3
