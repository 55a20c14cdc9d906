import numpy as np
import pytest
from sklearn.metrics import accuracy_score, f1_score

from evals.estimate import Bench
from supply_chain.errors import InvalidInput

LABELS = ["a", "b", "c"]


def bench(rows=300, groups=60, resamples=500, seed=1, labels=LABELS):
    rng = np.random.default_rng(seed)
    truth = [str(x) for x in rng.choice(labels, rows)]
    return Bench(truth, [f"g{i % groups}" for i in range(rows)], labels, resamples, 17)


def answers_of(b: Bench, right: float, seed=2):
    rng = np.random.default_rng(seed)
    return [t if rng.random() < right else str(rng.choice(list(b.labels))) for t in b.truth]


@pytest.mark.parametrize("labels", [LABELS, [*LABELS, "never"]])
def test_means_equal_scikit_learn(labels):
    b = bench()
    b = Bench(b.truth, b.groups, labels, b.resamples, b.seed)
    answers = answers_of(b, 0.7)
    f1 = f1_score(b.truth, answers, labels=labels, average="macro", zero_division=0)
    assert b.estimate("macro_f1", answers).mean == pytest.approx(f1, abs=1e-12)
    assert b.estimate("accuracy", answers).mean == pytest.approx(accuracy_score(b.truth, answers), abs=1e-12)


def test_every_draw_equals_scikit_learn_on_the_drawn_rows():
    b = bench(rows=40, groups=8, resamples=60)
    answers = answers_of(b, 0.6)
    names = np.unique(b.groups)
    drawn = []
    for weights in b._draws._few:
        rows = [i for i in range(40) for _ in range(int(weights[list(names).index(b.groups[i])]))]
        truth, given = [b.truth[i] for i in rows], [answers[i] for i in rows]
        drawn.append(f1_score(truth, given, labels=LABELS, average="macro", zero_division=0))
    low, high = np.quantile(drawn, [0.025, 0.975])
    found = b.estimate("macro_f1", answers)
    assert (found.low, found.high) == (pytest.approx(low), pytest.approx(high))
    assert b._draws._few.sum(axis=1).tolist() == [8] * 60


def test_known_interval_of_two_groups():
    # Draws of two groups with F1 1 and 0 of their label: both, one of each, none.
    b = Bench(["a", "b"], ["x", "y"], ["a", "b"], 4000, 3)
    found = b.estimate("macro_f1", ["a", "a"])
    assert (found.mean, found.low, found.high, found.n) == (pytest.approx(1 / 3), 0.0, 0.5, 2)


def test_whole_groups_are_drawn():
    # Rows of a group are copies: the interval must be that of the groups, not of the rows.
    few, many = bench(rows=60, groups=60), bench(rows=60, groups=60)
    answers = answers_of(few, 0.6)
    copies = Bench(many.truth * 10, list(many.groups) * 10, LABELS, 500, 17)
    assert copies.estimate("accuracy", answers * 10).low == pytest.approx(
        few.estimate("accuracy", answers).low, abs=0.005
    )
    alone = Bench(many.truth * 10, [str(i) for i in range(600)], LABELS, 500, 17)
    assert alone.estimate("accuracy", answers * 10).low > few.estimate("accuracy", answers).low + 0.03


def test_perfect_and_hopeless_answers_still_have_an_interval():
    b = bench(rows=24, groups=8)
    perfect = b.estimate("macro_f1", list(b.truth))
    assert (perfect.mean, perfect.low, perfect.high) == (1.0, pytest.approx(0.025 ** (1 / 8)), 1.0)
    wrong = b.estimate("accuracy", [LABELS[(LABELS.index(t) + 1) % 3] for t in b.truth])
    assert (wrong.mean, wrong.low, wrong.high) == (0.0, 0.0, pytest.approx(1 - 0.025 ** (1 / 8)))


def test_one_group_is_refused():
    with pytest.raises(InvalidInput, match="one group"):
        Bench(["a", "b"], ["g", "g"], LABELS, 200, 1)


def test_answers_that_are_no_label_or_too_few_are_refused():
    b = bench(rows=4, groups=4)
    with pytest.raises(InvalidInput, match="not known: z"):
        b.estimate("accuracy", ["a", "b", "c", "z"])
    with pytest.raises(InvalidInput, match="3 answers to 4 rows"):
        b.estimate("accuracy", ["a", "b", "c"])


def test_differences_are_paired():
    b = bench()
    one, other = answers_of(b, 0.7), answers_of(b, 0.7, seed=5)
    same = b.difference("macro_f1", one, one)
    assert (same.mean, same.low) == (0, pytest.approx(-same.high)) and 0.03 < same.high < 0.1  # 60 groups
    apart = b.difference("accuracy", one, other)
    assert apart.mean == pytest.approx(b.estimate("accuracy", one).mean - b.estimate("accuracy", other).mean)
    assert b.difference("accuracy", other, one).low == pytest.approx(-apart.high)
    flip = next(i for i, answer in enumerate(other) if answer == b.truth[i])
    nearly = [*other[:flip], LABELS[(LABELS.index(other[flip]) + 1) % 3], *other[flip + 1 :]]
    width = b.difference("accuracy", nearly, other)
    assert width.high - width.low < 0.03  # unpaired, it would be about 0.15


def test_mean_of_values():
    b = Bench(["a", "a", "b"], ["x", "x", "y"], LABELS, 4000, 3)
    found = b.mean(np.array([0.0, 0.0, 3.0]))
    assert (found.mean, found.low, found.high) == (1.0, 0.0, 3.0)


def test_the_seed_decides_and_blocks_do_not_matter(monkeypatch):
    b = bench()
    answers = answers_of(b, 0.7)
    once, again = b.estimate("macro_f1", answers), bench().estimate("macro_f1", answers)
    assert once == again
    assert Bench(b.truth, b.groups, LABELS, 500, 18).estimate("macro_f1", answers) != once
    monkeypatch.setattr("evals.resampling._CELLS", 60 * 7)
    assert bench().estimate("macro_f1", answers) == once


def test_intervals_cover_the_truth_where_rows_of_a_group_resemble_each_other():
    rng, truth = np.random.default_rng(11), ["a"] * 240
    covered = {"groups": 0, "rows": 0}
    for trial in range(200):
        skill = np.repeat(rng.beta(3.5, 1.5, 40), 6)  # mean 0.7
        answers = ["a" if right else "b" for right in rng.random(240) < skill]
        for name, groups in (("groups", np.arange(240) // 6), ("rows", np.arange(240))):
            found = Bench(truth, [str(g) for g in groups], ["a", "b"], 400, trial).estimate("accuracy", answers)
            covered[name] += found.low <= 0.7 <= found.high
    assert 184 <= covered["groups"] <= 198  # 95 % of 200 is 190
    assert covered["rows"] < 184
