"""Calibration figures with exact values."""

import numpy as np
import pytest

from evals.confidence import confidence_of
from evals.drawing import reliability_plot, risk_plot
from evals.estimate import Bench
from supply_chain.escalation import Escalation

ROWS = 100
TRUTH = ["a"] * ROWS
BENCH = Bench(TRUTH, [str(i) for i in range(ROWS)], ["a", "b"], 200, 17)
SURE = np.linspace(0.505, 1, ROWS)  # ten bins of ten
ANSWERS = ["a" if i % 4 or i >= 60 else "b" for i in range(ROWS)]  # 15 mistakes among the 60 least sure
PROMISE = Escalation(max_risk=0.1, confidence=0.95, threshold=0.7999, rows=50, kept=30, mistakes=1)


def test_bins_hold_equally_many_rows_and_their_gaps_are_averaged():
    found = confidence_of(BENCH, ANSWERS, SURE, None)
    assert [b.rows for b in found.bins] == [10] * 10
    assert [b.right for b in found.bins] == [0.7, 0.8] * 3 + [1.0] * 4
    expected = np.mean([abs(b.right - b.confidence) for b in found.bins])
    assert found.calibration_error == pytest.approx(expected)
    right = np.array([answer == "a" for answer in ANSWERS])
    assert found.brier.mean == pytest.approx(np.mean((SURE - right) ** 2))
    assert found.kept is None


def test_risk_grows_from_the_surest_to_all():
    curve = confidence_of(BENCH, ANSWERS, SURE, None).curve
    assert (curve[0].coverage, curve[0].risk) == (0.01, 0.0)
    assert (curve[-1].coverage, curve[-1].risk) == (1.0, pytest.approx(0.15))
    assert [p.coverage for p in curve] == sorted(p.coverage for p in curve)


def test_the_promise_is_held_against_the_test_rows():
    kept = confidence_of(BENCH, ANSWERS, SURE, PROMISE).kept
    assert kept.escalated.mean == pytest.approx(0.59)
    assert (kept.risk.n, kept.risk.mean) == (41, 0.0) and kept.risk.high > 0.05
    nobody = PROMISE.model_copy(update={"threshold": 2.0})
    kept = confidence_of(BENCH, ANSWERS, SURE, nobody).kept
    assert (kept.escalated.mean, kept.risk) == (1.0, None)


def test_plots_say_in_words_what_they_show():
    found = confidence_of(BENCH, ANSWERS, SURE, PROMISE)
    assert reliability_plot(found).told.startswith("confidence 0.53, right 0.70; confidence 0.58, right 0.80")
    plot = risk_plot(found)
    assert plot.told.startswith("answering 1%, wrong 0.0%; ")
    assert plot.line.count(" ") == 1 and plot.top == "15%"
