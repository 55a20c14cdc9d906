"""Thresholds that promise a risk."""

import numpy as np
import pytest
from scipy.stats import binom

from supply_chain.escalation import NONE_KEPT, Stakes, choose_threshold
from supply_chain.records import Example
from supply_chain.trust import halves


def test_the_lowest_threshold_that_holds_is_chosen():
    sure = np.linspace(1, 0.001, 1000)
    right = sure > 0.4  # all mistakes are below
    found = choose_threshold(sure.tolist(), right.tolist(), 0.1)
    kept = int((sure >= found.threshold).sum())
    assert (found.rows, found.kept, found.mistakes) == (1000, kept, int((~right[:kept]).sum()))
    assert binom.cdf(found.mistakes, kept, 0.1) <= 0.05
    below = int((sure >= found.threshold - 0.01).sum())
    assert binom.cdf(int((~right[:below]).sum()), below, 0.1) > 0.05
    assert found.promised and 0.30 < found.threshold < 0.4


@pytest.mark.parametrize(("rows", "right"), [(10, True), (1000, False), (0, True)])
def test_too_few_rows_or_too_many_mistakes_promise_nothing(rows, right):
    found = choose_threshold([0.9] * rows, [right] * rows, 0.05)
    assert (found.threshold, found.kept, found.promised) == (NONE_KEPT, 0, False)


def test_one_unlucky_sure_row_does_not_end_the_search():
    sure, right = np.linspace(0.99, 0.5, 500), np.ones(500, dtype=bool)
    right[0] = False
    assert choose_threshold(sure.tolist(), right.tolist(), 0.1).kept == 500


def test_nothing_below_a_threshold_that_fails_is_tried():
    sure = np.concatenate([np.full(100, 0.95), np.full(100, 0.85), np.full(5000, 0.75)])
    right = np.concatenate([np.ones(100), np.tile([1, 0], 50), np.ones(5000)]).astype(bool)
    found = choose_threshold(sure.tolist(), right.tolist(), 0.1)
    assert (found.kept, found.mistakes) == (100, 0)


def test_the_promise_holds_as_often_as_promised():
    rng, broken = np.random.default_rng(3), 0
    for _ in range(300):
        sure = rng.beta(2, 1, 200)
        found = choose_threshold(sure.tolist(), (rng.random(200) < sure).tolist(), 0.2)
        # E[1 - c | c >= t] for c ~ Beta(2, 1)
        t = min(found.threshold, 1.0)
        risk = 1 - (2 / 3) * (1 - t**3) / (1 - t**2) if t < 1 else 0.0
        broken += found.promised and risk > 0.2
    assert broken <= 24  # 5 % of 300 is 15; 24 is its 99th percentile


def test_groups_stay_on_one_half():
    rows = [Example(id=str(i), text="", label="", group=f"g{i // 3}", file="", line=i) for i in range(30)]
    one, other = halves(rows)
    assert len(one) == len(other) == 15
    assert not {r.group for r in one} & {r.group for r in other}


def test_the_cheapest_threshold_weighs_mistakes_against_what_is_passed_on():
    sure = [0.95] * 100 + [0.75] * 100 + [0.55] * 100
    usd = [0.0] * 100 + [0.1] * 100 + [0.9] * 100  # expected cost of keeping each
    found = choose_threshold(sure, [True] * 300, 0.1, stakes=Stakes(usd, 0.5)).cheapest
    assert 0.55 < found.threshold <= 0.75
    assert found.usd_per_1k == pytest.approx(1000 * (0.0 + 0.1 + 0.5) / 3)
    assert found.all_kept_usd_per_1k == pytest.approx(1000 * 1.0 / 3)
    dear = choose_threshold(sure, [True] * 300, 0.1, stakes=Stakes(usd, 10.0)).cheapest
    assert dear.threshold == 0.0
    free = choose_threshold(sure, [True] * 300, 0.1, stakes=Stakes([1.0] * 300, 0.0)).cheapest
    assert (free.usd_per_1k, free.threshold > 0.95) == (0.0, True)


def test_the_cheapest_of_those_that_keep_the_risk_may_be_chosen():
    sure, right = [0.95] * 200 + [0.6] * 200, [True] * 400
    stakes = Stakes([0.0] * 200 + [0.9] * 200, 0.5, "cheapest")
    most = choose_threshold(sure, right, 0.1)
    cheap = choose_threshold(sure, right, 0.1, stakes=stakes)
    assert (most.kept, cheap.kept, cheap.mistakes) == (400, 200, 0)
    assert 0.6 < cheap.threshold <= 0.95
    wrong = choose_threshold(sure, [False] * 400, 0.1, stakes=stakes)
    assert not wrong.promised and wrong.cheapest.threshold == cheap.cheapest.threshold
