import json
import math
from pathlib import Path

import pytest

from evals.records import Difference, SliceScore
from registry.gate import Check, Decision, decide, judge, verdict
from supply_chain.errors import CorruptData
from supply_chain.recipe.promote import Promote
from supply_chain.store import Store
from tests.registry.evidence import contestant, estimate, scorecard, store_scorecard

POLICY = Promote(minimum=0.65, beats=["tfidf"], max_p95_ms=50, max_size_mb=112, max_usd_per_1k=5.5)


def check(name: str, policy: Promote = POLICY, **changes) -> Check:
    decision = decide(policy, scorecard(**changes), "s" * 64)
    found = next(c for c in decision.checks if c.name == name)
    assert decision.promoted is all(c.passed for c in decision.checks)
    return found


def test_good_evidence_may_be_promoted():
    decision = decide(POLICY, scorecard(champion="c" * 64), "s" * 64)
    assert [c.name for c in decision.checks] == [
        "minimum", "beats tfidf", "champion", "quantization", "p95", "size", "cost",
    ]  # fmt: skip
    assert decision.promoted and decision.headline == "May be promoted: all 7 checks passed."
    assert (decision.recipe, decision.candidate) == ("tiny_reviews", "bnb-nf4")
    assert (decision.scorecard_digest, decision.policy) == ("s" * 64, POLICY)


def test_optional_limits_are_checked_only_where_the_recipe_sets_them():
    decision = decide(Promote(minimum=0.65), scorecard(), "s" * 64)
    assert [c.name for c in decision.checks] == ["minimum", "beats tfidf", "champion", "quantization"]


def test_sentences_are_for_people():
    found = [c.sentence for c in decide(POLICY, scorecard(champion="c" * 64), "s" * 64).checks]
    assert found == [
        "Macro-F1 is 0.741 (95 % interval 0.700 to 0.780, 749 rows); its lower bound reaches the required 0.65.",
        "Against tfidf, macro-F1 differs by +0.080 (95 % interval +0.040 to +0.120, paired over 749 rows), "
        "so it is better.",
        "Against champion, macro-F1 differs by +0.020 (95 % interval +0.001 to +0.040, paired over 749 rows); "
        "its lower bound stays within the allowed loss of 0.01. It is better.",
        "In the format bnb-nf4, it loses 0.006 macro-F1 against full precision (95 % interval of the change -0.020 to "
        "+0.009); a mean loss of up to 0.02 is allowed.",
        "The 95th percentile of a decision's time is 45.0 ms, within the allowed 50 ms.",
        "The model's files take 112.0 MB, within the allowed 112 MB.",
        "1,000 decisions cost $5.0000 (95 % interval $4.5000 to $5.5000, mistakes included); the upper bound "
        "stays within the allowed $5.5.",
    ]


@pytest.mark.parametrize(("low", "passed"), [(0.65, True), (0.6499, False), (0.66, True)])
def test_the_lower_bound_counts_not_the_mean(low, passed):
    found = check("minimum", own={"f1": estimate(0.9, low, 0.95)})
    assert (found.passed, found.measured, found.required) == (passed, low, 0.65)


def test_a_near_miss_is_not_rounded_into_a_hit():
    assert "interval 0.6499 to" in check("minimum", own={"f1": estimate(0.9, 0.6499, 0.95)}).sentence


@pytest.mark.parametrize(("low", "passed"), [(0.0001, True), (0.0, False), (-0.01, False)])
def test_a_tie_does_not_beat(low, passed):
    found = check("beats tfidf", differences={"tfidf": estimate(0.05, low, 0.1)})
    assert (found.passed, found.measured) == (passed, low)
    assert ("so it is better" in found.sentence) is passed


def test_every_rival_has_a_check_of_its_own():
    policy = Promote(minimum=0.1, beats=["majority", "tfidf", "base"])
    decision = decide(policy, scorecard(), "s" * 64)
    assert [c.name for c in decision.checks if not c.passed] == ["beats majority"]
    assert decision.headline == "Refused: 1 of 6 checks failed (beats majority)."


@pytest.mark.parametrize(("low", "passed"), [(-0.01, True), (-0.0101, False)])
def test_the_champion_may_be_missed_by_the_margin_only(low, passed):
    found = check("champion", champion="c" * 64, differences={"champion": estimate(0.0, low, 0.02)})
    assert (found.passed, found.required) == (passed, -0.01)


@pytest.mark.parametrize(
    ("measured", "ending"),
    [
        ((0.0, -0.03, 0.03), "The evidence is insufficient: about 6,741 rows would settle it if the figure stayed."),
        ((-0.02, -0.05, 0.01), "The evidence is insufficient, and what was measured lies on the wrong side."),
        ((-0.05, -0.08, -0.02), "It is worse: more rows would not change that."),
        ((0.005, -0.005, 0.015), "stays within the allowed loss of 0.01."),
    ],
)
def test_worse_is_told_from_too_little_evidence(measured, ending):
    found = check("champion", champion="c" * 64, differences={"champion": estimate(*measured)})
    assert found.sentence.endswith(ending)
    assert found.passed is (measured[1] >= -0.01)


def test_no_champion_is_said():
    found = check("champion")
    assert found.passed and found.measured is None
    assert found.sentence == "There is no champion yet that it could be worse than."


@pytest.mark.parametrize(("mean", "passed"), [(-0.02, True), (-0.0201, False), (0.01, True)])
def test_quantization_is_judged_by_its_mean(mean, passed):
    found = check("quantization", differences={"specialist": estimate(mean, -0.2, 0.2)})
    assert (found.passed, found.measured) == (passed, -mean)
    assert "interval of the change -0.200 to +0.200" in found.sentence


@pytest.mark.parametrize(
    ("name", "own"),
    [
        ("p95", {"p95_ms": 50.01}),
        ("size", {"size_bytes": 112_000_001}),
        ("cost", {"usd_per_1k": estimate(5.0, 4.5, 5.51)}),
    ],
)
def test_limits_refuse_what_is_over(name, own):
    assert not check(name, own=own).passed


def test_a_size_is_in_decimal_megabytes():
    assert check("size", own={"size_bytes": 112 << 20}).measured == pytest.approx(117.44, abs=0.01)


@pytest.mark.parametrize("name", ["tfidf", "specialist", "champion"])
def test_what_was_not_compared_never_passes(name):
    found = check(
        {"tfidf": "beats tfidf", "specialist": "quantization"}.get(name, name),
        champion="c" * 64,
        differences={name: None},
    )
    assert not found.passed and found.measured is None
    assert found.sentence.startswith(f"No evidence: {name} was not measured")


def test_a_difference_in_another_metric_is_no_evidence():
    stray = Difference(contestant="bnb-nf4", against="tfidf", metric="accuracy", estimate=estimate(0.5, 0.4, 0.6))
    card = scorecard(differences={"tfidf": None})
    card = card.model_copy(update={"differences": [*card.differences, stray]})
    assert [c.name for c in decide(POLICY, card, "s" * 64).checks if not c.passed] == ["beats tfidf"]


def test_no_rows_and_no_number_are_no_evidence():
    assert not check("minimum", own={"f1": estimate(1.0, 1.0, 1.0, n=0)}).passed
    assert not check("beats tfidf", differences={"tfidf": estimate(math.nan, math.nan, math.nan)}).passed
    assert not check("p95", own={"p95_ms": math.nan}).passed


def test_a_missing_candidate_is_refused():
    card = scorecard().model_copy(update={"contestants": [contestant("tfidf")]})
    decision = decide(POLICY, card, "s" * 64)
    assert not decision.promoted
    assert [c.name for c in decision.checks] == ["evidence"]


def test_the_verdict_repeats_the_decision():
    decision = decide(POLICY, scorecard(differences={"tfidf": estimate(0, -0.1, 0.1)}), "s" * 64)
    shown = verdict(decision)
    assert (shown.promoted, shown.headline) == (False, decision.headline)
    assert [(r.passed, r.sentence) for r in shown.reasons] == [(c.passed, c.sentence) for c in decision.checks]


def test_a_decision_is_stored_once_with_its_policy(store: Store):
    card = store_scorecard(scorecard(), store)
    first = judge(POLICY, card, store)
    assert judge(POLICY, card, store).key == first.key
    assert judge(POLICY.model_copy(update={"minimum": 0.1}), card, store).key != first.key
    assert Decision.model_validate(json.loads((first.path / "decision.json").read_text())) == first.record
    assert first.record.scorecard_digest == card.digest


def test_damaged_evidence_is_not_judged(store: Store):
    card = store_scorecard(scorecard(), store)
    Path(card.path / "scorecard.json").write_text("{}")
    with pytest.raises(CorruptData, match="scorecard"):
        judge(POLICY, card, store)


def slices(*found: tuple) -> list[SliceScore]:
    names = ("name", "rows", "estimate", "wins", "losses", "p_value")
    return [SliceScore(**dict(zip(names, given, strict=True))) for given in found]


@pytest.mark.parametrize(
    ("found", "passed", "told"),
    [
        ([("short", 100, estimate(0.7, 0.6, 0.8), 3, 1, 1.0)], True, "none is shown to lie below 0.6"),
        ([("short", 100, estimate(0.4, 0.3, 0.59), 3, 1, 1.0)], False, "shown to lie below 0.6: short"),
        ([("long", 100, estimate(0.7, 0.6, 0.8), 1, 20, 0.01)], False, "shown to be worse than before: long"),
        ([("long", 100, estimate(0.7, 0.6, 0.8), 20, 1, 0.01)], True, "none is shown"),
        ([("empty", 0, None, 0, 0, 1.0)], False, "no evidence: empty"),
        ([], False, "Of 0 slices"),
    ],
)
def test_slices_are_refused_for_what_is_shown(found, passed, told):
    result = check("slices", Promote(minimum=0.65, slice_minimum=0.6), slices=slices(*found))
    assert result.passed is passed and told in result.sentence


@pytest.mark.parametrize(("low", "passed"), [(0.95, True), (0.9499, False)])
def test_answers_that_cannot_be_read_are_counted_and_gated(low, passed):
    metrics = {"macro_f1": estimate(0.8, 0.7, 0.9), "valid": estimate(0.98, low, 1.0)}
    found = check("valid", Promote(minimum=0.5, min_valid=0.95), own={"metrics": metrics})
    assert (found.passed, found.measured) == (passed, low)
    ranked = check("valid", Promote(minimum=0.5, min_valid=0.95))
    assert not ranked.passed and "No evidence" in ranked.sentence
