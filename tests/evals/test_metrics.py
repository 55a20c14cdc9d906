"""Metrics of written answers, with exact values."""

import math

import pytest

from evals.estimate import Bench
from supply_chain.errors import InvalidInput

TRUTH = ['{"a":"1","b":"2"}', '{"a":"1"}', '{"b":"3"}', '{"a":"5","b":"6"}']
ANSWERS = ['{"a":"1","b":"2"}', '{"a":"9"}', "", '{"a":"5","x":"6"}']


def bench(truth=TRUTH, task="extraction", labels=("a", "b", "never")) -> Bench:
    return Bench(truth, [str(i) for i in range(len(truth))], list(labels), 400, 17, task)


def test_fields_are_counted_one_by_one_and_rows_as_a_whole():
    found = bench().estimates(ANSWERS)
    assert found["exact_match"].mean == 1 / 4
    assert found["valid"].mean == 3 / 4
    # right: a1 b2, a5; answered: 2 + 1 + 0 + 2; true: 2 + 1 + 1 + 2
    assert found["micro_f1"].mean == pytest.approx(2 * 3 / (5 + 6))
    # a: 2 right of 3 answered and 3 true; b: 1 of 1 and 3; the invented x: 0; `never` does not count
    assert found["macro_f1"].mean == pytest.approx((4 / 6 + 2 / 4 + 0) / 3)
    assert all(e.low <= e.mean <= e.high for e in found.values())


def test_each_field_has_its_precision_and_recall():
    a, b = bench().by_label(ANSWERS)
    assert (a.label, a.rows, a.answered) == ("a", 3, 3)
    assert (a.precision.mean, a.recall.mean) == (pytest.approx(2 / 3), pytest.approx(2 / 3))
    assert (b.precision.mean, b.recall.mean, b.f1.mean) == (1.0, pytest.approx(1 / 3), pytest.approx(0.5))
    assert (b.recall.n, b.answered) == (3, 1)


def test_a_field_that_is_never_answered_has_no_precision():
    (a,) = bench(['{"a":"1"}', '{"a":"2"}'], labels=("a",)).by_label(["{}", ""])
    assert a.precision is None and a.recall.mean == 0 and a.f1.mean == 0


def test_values_of_another_type_are_other_values():
    found = bench(['{"a":1}', '{"a":"1"}'], labels=("a",)).estimates(['{"a":"1"}', '{"a":"1"}'])
    assert found["micro_f1"].mean == found["exact_match"].mean == 1 / 2


def test_lists_of_labels_are_sets():
    found = bench(['["x","y"]', '["y"]'], "multilabel", ("x", "y")).estimates(['["x"]', '["x","y"]'])
    assert found["exact_match"].mean == 0
    assert found["micro_f1"].mean == pytest.approx(2 * 2 / (3 + 3))


def test_nobody_answers_anything():
    found = bench().estimates(["", "", "", ""])
    assert [found[name].mean for name in ("exact_match", "valid", "micro_f1", "macro_f1")] == [0, 0, 0, 0]
    assert all(not math.isnan(e.high) for e in found.values())


def test_a_missing_answer_is_no_wrong_answer():
    with pytest.raises(InvalidInput, match="3 answers to 4 rows"):
        bench().estimates(ANSWERS[:3])
