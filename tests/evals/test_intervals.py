"""Intervals with published values, and their traps."""

import numpy as np
import pytest
from scipy.stats import binom

from evals.intervals import effective_rows, holm, mcnemar, paired_interval, rows_to_settle, share_interval


def test_wilson_values():
    # Newcombe 1998 (Statistics in Medicine 17:857), table I, method 3: 81 of 263, and 15 of 148.
    assert share_interval(81 / 263, 263) == (pytest.approx(0.2553, abs=1e-4), pytest.approx(0.3662, abs=1e-4))
    assert share_interval(15 / 148, 148) == (pytest.approx(0.0624, abs=1e-4), pytest.approx(0.1605, abs=1e-4))


def test_a_single_mistake_leaves_room():
    low, high = share_interval(49 / 50, 50)
    assert high == pytest.approx(1 - 0.05129 / 50, abs=1e-5)  # Poisson: P(none) = 0.95
    assert share_interval(1 / 50, 50) == (pytest.approx(1 - high), pytest.approx(1 - low))


@pytest.mark.parametrize(("rows", "share", "expected"), [(50, 0.5, 0.935), (200, 0.99, 0.948), (1000, 0.9, 0.949)])
def test_exact_coverage(rows, share, expected):
    covered = [low <= share <= high for low, high in (share_interval(x / rows, rows) for x in range(rows + 1))]
    assert binom.pmf(np.arange(rows + 1), rows, share)[covered].sum() == pytest.approx(expected, abs=1e-3)


def test_pairs_that_never_part_still_leave_a_width():
    low, high = paired_interval(0, 0, 50)
    z2 = 1.959964**2
    assert (low, high) == (pytest.approx(-z2 / (50 + z2), abs=1e-5), pytest.approx(z2 / (50 + z2), abs=1e-5))


@pytest.mark.parametrize(("wins", "losses"), [(5, 2), (0, 7), (12.5, 0), (30, 30)])
def test_a_paired_interval_turns_with_its_sides(wins, losses):
    low, high = paired_interval(wins, losses, 60)
    assert low < (wins - losses) / 60 < high
    assert paired_interval(losses, wins, 60) == (pytest.approx(-high, abs=1e-9), pytest.approx(-low, abs=1e-9))


def test_a_paired_interval_of_all_wins_or_losses():
    assert paired_interval(10, 0, 10)[1] == 1.0
    assert paired_interval(0, 10, 10)[0] == -1.0


def test_rows_of_a_group_count_less():
    values, groups = np.repeat([1.0, 0.0, 1.0, 1.0, 0.0], 20), np.repeat(np.arange(5), 20)
    copies = effective_rows(values, groups, 5)
    assert copies < 5  # five groups of copies, and few of them
    assert effective_rows(values, np.arange(100), 100) == 100
    assert effective_rows(np.ones(100), groups, 5) == 5
    mixed = np.tile([1.0, 0.0], 50)
    assert effective_rows(mixed, groups, 5) > 40  # every group is alike: only the few groups are charged


def test_mcnemar_mid_p():
    assert mcnemar(1, 7) == pytest.approx(2 * (1 + 8) / 256 - 8 / 256)
    assert mcnemar(4, 4) == mcnemar(0, 0) == 1.0
    assert mcnemar(7, 1) == mcnemar(1, 7)


def test_holm_steps_down_and_never_back():
    assert holm([0.01, 0.04, 0.03, 0.005]) == pytest.approx([0.03, 0.06, 0.06, 0.02])
    assert holm([]) == [] and holm([0.7, 0.9]) == [1.0, 1.0]


def test_rows_that_would_settle_it():
    assert rows_to_settle(0.02, -0.02, 0.0, 100) == 400
    assert rows_to_settle(-0.005, -0.03, -0.01, 200) == 5000
    assert rows_to_settle(-0.02, -0.05, -0.01, 200) is None
    assert rows_to_settle(0.0, -0.02, 0.0, 200) is None
