"""The gate on forgetting holds at the unfavourable end, and never passes without evidence."""

import pytest

from evals.records import Forgetting, OldTest
from registry.gate import Check, decide
from supply_chain.recipe.promote import Promote
from tests.registry.evidence import estimate, scorecard

KNOWN = estimate(0.95, 0.93, 0.97, 400)
TEST = OldTest(first=1, rows=400, left_out=3, accuracy={"1": KNOWN, "candidate": KNOWN})


def outcome(found: Forgetting | None, allowed: float = 0.02) -> Check:
    card = scorecard(forgetting=found)
    checks = decide(Promote(minimum=0.65, max_forgetting=allowed), card, "s" * 64).checks
    return next(check for check in checks if check.name == "forgetting")


@pytest.mark.parametrize(("high", "passed"), [(0.02, True), (0.0201, False)])
def test_the_upper_bound_decides(high: float, passed: bool) -> None:
    found = outcome(Forgetting(tests=[TEST], gone=[], average=estimate(0.01, -0.002, high, 400)))
    assert (found.passed, found.measured, found.required) == (passed, high, 0.02)
    ending = "stays within" if passed else "exceeds"
    shown = "0.020" if passed else "0.0201"
    assert found.sentence == (
        f"On 1 earlier test set, average forgetting is 0.010 of accuracy (95 % interval -0.002 to {shown}, 400 rows); "
        f"its upper bound {ending} the allowed 0.02."
    )


def test_a_first_version_has_nothing_to_forget() -> None:
    found = outcome(Forgetting(tests=[], gone=[], average=None))
    assert (found.passed, found.measured) == (True, None)


@pytest.mark.parametrize(
    "found",
    [
        None,
        Forgetting(tests=[], gone=[1], average=None),
        Forgetting(tests=[TEST.model_copy(update={"accuracy": {}, "rows": 0})], gone=[], average=None),
    ],
    ids=["not measured", "all gone", "all rows were trained on"],
)
def test_no_evidence_does_not_pass(found: Forgetting | None) -> None:
    assert outcome(found).sentence.startswith("No evidence")
    assert not outcome(found).passed
