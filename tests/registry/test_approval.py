"""A version that asks for signatures waits for them; they are about these bytes, by these people, for a time."""

from datetime import UTC, datetime, timedelta

import pytest

from registry.approval import bound_to, missing
from registry.decisions import Act, Approved, Log, Logged
from registry.past import log_rows
from registry.release import Release
from registry.terms import NOBODY
from registry.verification import Live, verified
from supply_chain.errors import CorruptData, InvalidInput
from supply_chain.recipe.promote import Approval
from tests.registry.chain import Chain
from tests.registry.evidence import store_artifact

ADA, BOB = Act("ada", "read 50 answers"), Act("bob", "no personal data")


@pytest.fixture
def asking(chain: Chain) -> Chain:
    """The recipe asks for two signatures."""
    approval = Approval(roles=["domain", "risk"], valid_days=30)
    promote = chain.recipe.promote.model_copy(update={"approval": approval})
    return Chain(chain.recipe.model_copy(update={"promote": promote}), chain.settings, chain.store)


@pytest.fixture
def release(asking: Chain) -> Release:
    return asking.release()


def missing_at(chain: Chain, release: Release, days: float = 0, fleet=None) -> list[str]:
    live = Live.of(release)
    bound = bound_to(live, fleet or chain.desk.fleet, chain.settings, chain.store)
    log = Log(chain.settings.home).entries()
    asked = verified(live, chain.store).decision.record.policy.approval
    return missing(asked, log, bound, datetime.now(UTC) + timedelta(days=days))


def test_a_version_waits_for_every_signature(asking: Chain, release: Release):
    desk = asking.desk
    assert desk.waits(release) == (
        "tiny_reviews version 1 waits for sign-off by domain, risk: "
        "supply-chain approve tiny_reviews --version 1 --role ROLE --why TEXT"
    )
    with pytest.raises(InvalidInput, match="waits for sign-off by domain, risk"):
        desk.promote(release, ADA)
    assert asking.aliases() == {"challenger": 1} and Log(asking.settings.home).entries() == []

    desk.approve(release, "domain", ADA, ["no red team yet"])
    with pytest.raises(InvalidInput, match=r"asks for sign-off by domain, risk, not by ceo"):
        desk.approve(release, "ceo", ADA)
    with pytest.raises(InvalidInput, match="a signature says why"):
        desk.approve(release, "risk", Act("bob", ""))
    desk.approve(release, "risk", ADA)
    assert "by risk (ada signed for another role):" in desk.waits(release)
    desk.approve(release, "risk", BOB)
    assert desk.waits(release) is None
    assert desk.promote(release, ADA).aliases == ["champion"]
    row = log_rows(Log(asking.settings.home).entries(), "tiny_reviews")[0]
    assert row["who"] == "ada" and row["what"].startswith("signed tiny_reviews version 1 as domain until ")
    assert row["what"].endswith(", waiving no red team yet")


def test_signatures_lapse(asking: Chain, release: Release):
    for role, act in (("domain", ADA), ("risk", BOB)):
        asking.desk.approve(release, role, act)
    assert missing_at(asking, release) == missing_at(asking, release, days=29.9) == []
    expired = missing_at(asking, release, days=30.1)
    assert [text.partition("'s")[0] for text in expired] == ["domain (ada", "risk (bob"]
    policy = asking.desk.fleet.policy.model_copy(update={"licenses": {"cc0-1.0": "research"}})
    other = asking.desk.fleet.model_copy(update={"policy": policy})  # the entry's `use` would be another
    assert missing_at(asking, release, fleet=other) == [
        "domain (ada signed other bytes)",
        "risk (bob signed other bytes)",
    ]


def test_a_changed_byte_voids(asking: Chain, release: Release):
    for role, act in (("domain", ADA), ("risk", BOB)):
        asking.desk.approve(release, role, act)
    route = asking.recipe.route.model_copy(update={"fallback": NOBODY})
    moved = Chain(asking.recipe.model_copy(update={"route": route}), asking.settings, asking.store).release()
    assert "waits for sign-off by domain, risk" in asking.desk.waits(moved)
    weights = store_artifact(asking.recipe, asking.store).path / "model.safetensors"
    weights.write_bytes(b"x" + weights.read_bytes()[1:])
    with pytest.raises(CorruptData):
        asking.desk.promote(release, ADA)


def test_a_signature_of_another_entry_does_not_count(asking: Chain, release: Release):
    signed = asking.desk.approve(release, "domain", ADA)
    log = Log(asking.settings.home).entries()
    bound = {name: getattr(signed, name) for name in ("release", "artifact", "report", "manifest_entry")}
    asked = verified(Live.of(release), asking.store).decision.record.policy.approval
    now = datetime.now(UTC)
    assert missing(asked, log, bound, now) == ["risk"]
    for name in ("artifact", "report", "manifest_entry"):
        entry = log[0].entry
        assert isinstance(entry.what, Approved)
        forged = entry.model_copy(update={"what": entry.what.model_copy(update={name: "0" * 64})})
        assert missing(asked, [Logged(forged, "")], bound, now)[0] == "domain (ada signed other bytes)"
