"""The few sentences that most people read, word for word."""

import pytest

from evals.brief import SPOILT, in_short
from evals.estimates import Estimate
from evals.records import SliceScore, Stress
from evals.scorecard import score
from evals.sureness import Kept
from evals.table import assumed, minus, usd
from supply_chain.escalation import NONE_KEPT, Escalation
from supply_chain.recipe.evaluate import Perturbation
from tests.evals.test_scorecard import answering

SHARE = Estimate(mean=0.25, low=0.1, high=0.4, n=24)


@pytest.fixture
def card(tiny_recipe, tiny_splits, store):
    given = [answering(name, tiny_splits, store, wrong=wrong) for name, wrong in (("bnb-nf4", 6), ("tfidf", 2))]
    return score(tiny_recipe, tiny_splits, given, "bnb-nf4", 17, store).record


def test_it_says_how_often_it_is_right_what_it_costs_and_where_it_is_weak(card):
    candidate = card.contestant("bnb-nf4")
    stress = Stress(kind="upper", rows=24, estimate=SHARE, change=SHARE.model_copy(update={"mean": -0.125}))
    worst = SliceScore(name="<b>short</b>", rows=21, estimate=SHARE, wins=0, losses=0, p_value=1.0)
    few = worst.model_copy(update={"name": "few", "rows": 19, "estimate": SHARE.model_copy(update={"mean": 0.0})})
    full = card.model_copy(update={"robustness": [stress], "slices": [few, worst]})
    found = in_short(full, candidate)
    assert found[0].startswith("Of 100 requests like these, it answers about 83 rightly (") and "95 %" in found[0]
    month, rival = usd(candidate.usd_per_month), usd(card.contestant("tfidf").usd_per_month)
    assert found[1] == f"A month of 1,000 decisions costs {month}, mistakes included, against word counts {rival}."
    assert found[2:] == [
        "It is weakest on the slice “<b>short</b>” (macro-F1 0.250, 21 rows).",
        "Of texts written otherwise, it loses most on upper (all in capitals): 0.125 of macro-F1.",
    ]
    assert set(SPOILT) == set(Perturbation.__args__)


@pytest.mark.parametrize(
    ("threshold", "said"),
    [
        (
            0.8,
            "It passes on what it is not sure of, 25\xa0% of these rows; of the answers it keeps, at most 10\xa0% are",
        ),
        (NONE_KEPT, "It cannot promise that at most 10\xa0% of its answers are wrong, so every answer is passed on."),
    ],
)
def test_it_says_what_is_passed_on(card, threshold, said):
    promise = Escalation(max_risk=0.1, confidence=0.95, threshold=threshold, rows=60, kept=50, mistakes=1)
    kept = Kept(promise=promise, escalated=SHARE, risk=None)
    unsure = card.model_copy(update={"confidence": card.confidence.model_copy(update={"kept": kept}), "slices": []})
    assert in_short(unsure, card.contestant("bnb-nf4"))[2].startswith(said)


def test_figures_are_written_as_people_write_them():
    assert [usd(v) for v in (0, 0.000243, 0.0042, 0.015, 12.3, 1234.5)] == [
        "$0.00", "$0.00024", "$0.0042", "$0.0150", "$12.30", "$1,234",
    ]  # fmt: skip
    told = [(0.61, "Share passed on"), (40, "Experts' hour, $"), (200000, "Decisions a month"), (0.066, "Seconds")]
    assert [assumed(*one) for one in told] == ["61\xa0%", "$40.00", "200,000", "0.066"]
    assert minus("4-bit: -0.027 to +0.024 (x-1, 1-2)") == "4-bit: −0.027 to +0.024 (x-1, 1-2)"
