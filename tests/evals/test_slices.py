"""Slices: which rows they hold, and what is said of few or none."""

import pytest

from evals.estimate import Bench
from evals.slices import chosen, lengths, score_slices
from supply_chain.errors import InvalidInput
from supply_chain.recipe.evaluate import SliceSpec
from supply_chain.records import Example

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
