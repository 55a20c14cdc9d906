"""Calibration figures with exact values."""

import numpy as np
import pytest

from evals.confidence import confidence_of
from evals.costs import costs_of
from evals.drawing import cost_plot, reliability_plot, risk_plot
from evals.estimate import Bench
from evals.estimates import Estimate
from evals.outside import outside_of
from evals.sureness import Kept
from supply_chain.errors import InvalidInput
from supply_chain.escalation import Cheapest, Escalation, Stakes

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
    assert (kept.escalated.mean, kept.risk, kept.outcome) == (1.0, None, None)


@pytest.mark.parametrize(
    ("low", "mean", "high", "outcome"),
    [(0.0, 0.02, 0.1, "shown"), (0.05, 0.12, 0.2, "agrees"), (0.05, 0.08, 0.11, "agrees"), (0.101, 0.2, 0.3, "broken")],
)
def test_a_promise_is_judged_by_its_interval_and_not_by_the_mean(low, mean, high, outcome):
    share = Estimate(mean=mean, low=low, high=high, n=50)
    assert Kept(promise=PROMISE, escalated=share, risk=share).outcome == outcome


def test_plots_say_in_words_what_they_show():
    found = confidence_of(BENCH, ANSWERS, SURE, PROMISE)
    assert reliability_plot(found).told.startswith("confidence 0.53, right 0.70; confidence 0.58, right 0.80")
    plot = risk_plot(found)
    assert plot.told.startswith("answering 1%, wrong 0.0%; ")
    assert plot.line.count(" ") == 1 and plot.top == "15%"


def test_costs_by_threshold_on_the_test_rows():
    kept_usd = [0.0 if a == "a" else 1.0 for a in ANSWERS]
    cheapest = Cheapest(threshold=0.7999, usd_per_1k=1.0, all_kept_usd_per_1k=2.0)
    promise = PROMISE.model_copy(update={"threshold": 2.0, "cheapest": cheapest})
    found = costs_of(BENCH, SURE, Stakes(kept_usd, 0.05), promise)
    assert found.at_cheapest.mean == pytest.approx(1000 * 0.59 * 0.05)
    assert found.at_promise.mean == pytest.approx(50)
    assert found.all_kept.mean == pytest.approx(150)
    assert (found.curve[0].coverage, found.curve[0].usd_per_1k) == (0.0, pytest.approx(50))
    assert (found.curve[-1].coverage, found.curve[-1].usd_per_1k) == (1.0, pytest.approx(150))
    assert cost_plot(found).top == "$150.00" and cost_plot(found).told.startswith("answering 0%, $50.00; ")
    assert costs_of(BENCH, SURE, Stakes(kept_usd, 0.05), PROMISE) is None


def test_what_is_out_of_scope_is_caught_by_its_label_or_by_doubt():
    truth = ["oos"] * 4 + ["a"] * 4
    bench = Bench(truth, [str(i) for i in range(8)], ["a", "b", "oos"], 200, 17)
    answers = ["oos", "a", "a", "b", "a", "a", "b", "oos"]
    sure = [0.9, 0.3, 0.9, 0.4, 0.9, 0.8, 0.4, 0.6]
    found = outside_of(bench, answers, sure, "oos", PROMISE.model_copy(update={"threshold": 0.5}))
    assert (found.caught.mean, found.caught.n, found.mistaken.mean) == (0.75, 4, 0.5)
    # strangeness outside 1.9 0.7 0.1 0.6, inside 0.1 0.2 0.6 1.6: pairs won 4 + 3 + 0.5 + 2.5 of 16
    assert found.auroc == pytest.approx(10 / 16)
    with pytest.raises(InvalidInput, match=r"out_of_scope: no label 'oss'; did you mean oos\?"):
        outside_of(bench, answers, sure, "oss", None)
    nobody = Bench(["a", "b"], ["1", "2"], ["a", "b", "oos"], 200, 17)
    empty = outside_of(nobody, ["a", "a"], [0.5, 0.5], "oos", None)
    assert (empty.caught, empty.auroc, empty.mistaken.mean) == (None, None, 0.0)
