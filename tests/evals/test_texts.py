"""Scores of written texts: exact values, rows that cannot be scored, scorers that fail."""

import numpy as np
import pytest

from evals.estimate import Bench
from evals.scorers import named
from evals.scorers.bleu import CorpusBleu
from evals.scorers.chrf import Chrf
from evals.scorers.exact import Exact
from evals.scorers.named import scorer_of
from evals.scorers.rouge import RougeL
from evals.scorers.scorer import MeanScorer
from evals.texts import TextRules
from supply_chain.errors import InvalidInput

TRUTH = ["the cat sat on the mat", "two plus two is four", "a b c d", "one two three four five"]
ANSWERS = ["the cat sat on the mat", "two plus two is five", "x y z", ""]


def bench(metrics=("rouge_l", "exact_match"), truth=TRUTH, acceptable=0.5) -> Bench:
    names = [f"r{i}" for i in range(len(truth))]
    rules = TextRules(metrics, metrics[0], acceptable)
    return Bench(truth, names, [], 400, 17, "generation", names, rules)


def test_rouge_is_the_f1_of_the_longest_common_subsequence():
    assert RougeL().score("r", "the cat sat", "the sat") == pytest.approx(2 * 1 * (2 / 3) / (1 + 2 / 3))
    assert RougeL().score("r", "عيد سعيد", "عيد سعيد") == 1.0  # the library's own words would give 0
    assert RougeL().score("r", "?!", "anything") is None


def test_exact_match_folds_white_space_alone():
    assert [Exact().score("r", "a  b\n", t) for t in ("a b", "A b")] == [1.0, 0.0]


def test_bleu_of_summed_counts_is_sacrebleus_own():
    from sacrebleu.metrics import BLEU

    counts = np.array([CorpusBleu().counts("r", t, a) for t, a in zip(TRUTH, ANSWERS, strict=True)])
    expected = BLEU(effective_order=True).corpus_score(ANSWERS, [TRUTH]).score / 100
    assert CorpusBleu().value(counts.sum(axis=0)[None])[0] == pytest.approx(expected)
    assert 0.3 < expected < 0.7


def test_chrf_needs_no_words():
    assert Chrf().score("r", "東京都", "東京都") == 1.0
    assert Chrf().score("r", "abc", "xyz") == 0.0


def test_likeness_of_meaning_is_a_cosine():
    pytest.importorskip("wordllama")
    near, far = (scorer_of("similarity").score("r", "the dog barked", t) for t in ("the hound barked", "tax law"))
    assert 0 <= far < near < 1
    assert scorer_of("similarity").score("r", "the dog barked", "") == 0.0
    assert scorer_of("similarity").score("r", "", "text") is None


def test_good_enough_answers_win_and_are_counted():
    found = bench()
    assert found.right(ANSWERS).tolist() == [1, 1, 0, 0]
    figures = found.estimates(ANSWERS)
    assert figures["rouge_l"].mean == pytest.approx((1 + 0.8) / 4)
    assert (figures["exact_match"].mean, figures["acceptable"].mean, figures["valid"].mean) == (0.25, 0.5, 0.75)
    assert found.discordant(ANSWERS, TRUTH) == (0, 2)
    change = found.difference("rouge_l", ANSWERS, TRUTH)
    assert change.mean == pytest.approx(0.45 - 1) and change.low < change.mean < change.high


def test_a_row_that_cannot_be_scored_is_counted_and_left_out():
    found = bench(truth=["the cat", "?!", "a b", "c d"])
    answers = ["the cat", "zzz", "a b", "x"]
    figure = found.estimates(answers)["rouge_l"]
    assert found.unscored(answers) == {"rouge_l": 1}
    assert (figure.n, figure.mean) == (3, pytest.approx(2 / 3))
    assert found.difference("rouge_l", answers, ["the cat", "?!", "a b", "c d"]).mean == pytest.approx(2 / 3 - 1)


def test_nothing_scored_is_no_evidence_and_not_zero():
    figure = bench(("rouge_l",), truth=["?!", "!?"]).estimates(["a", "b"])["rouge_l"]
    assert (figure.n, figure.low, figure.high) == (0, 0.0, 1.0)


class _Broken(MeanScorer):
    def score(self, row, truth, answer):
        return 1 / len(answer)


class _Endless(MeanScorer):
    def score(self, row, truth, answer):
        return float("inf")


@pytest.mark.parametrize(
    ("scorer", "message"),
    [
        (_Broken, r"row r3: the scorer of chrf failed \(ZeroDiv"),
        (_Endless, "row r0: the scorer of chrf gave"),
    ],
)
def test_a_scorer_that_fails_ends_the_evaluation_with_the_rows_id(monkeypatch, scorer, message):
    monkeypatch.setitem(named._SCORERS, "chrf", scorer)
    with pytest.raises(InvalidInput, match=message):
        bench(("chrf",)).estimates(ANSWERS)
