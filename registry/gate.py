"""The gate: from evidence to a decision that explains itself. No clock, no files, no server."""

from pathlib import Path
from typing import ClassVar

from evals.records import Reason, Scorecard, Verdict
from registry.check import Check, absent
from registry.checks import checks
from supply_chain.identity import canonical_json, identity
from supply_chain.recipe.promote import Promote
from supply_chain.store import Record, Store, Stored

VERSION = 2
FILE = "decision.json"


class Decision(Record):
    """Whether a candidate may become champion, and why. `decision.json` holds the same."""

    kind: ClassVar[str] = "decision"
    recipe: str
    candidate: str
    scorecard_digest: str
    policy: Promote
    checks: list[Check]
    promoted: bool
    headline: str


def decide(promote: Promote, scorecard: Scorecard, scorecard_digest: str) -> Decision:
    """Applies the recipe's gates to a scorecard. Pure: equal evidence gives an equal decision."""
    candidate = scorecard.contestant(scorecard.candidate)
    found = list(checks(promote, scorecard, candidate)) if candidate else [absent("evidence", scorecard.candidate)]
    failed = [check.name for check in found if not check.passed]
    headline = (
        f"Refused: {len(failed)} of {len(found)} checks failed ({', '.join(failed)})."
        if failed
        else f"May be promoted: all {len(found)} checks passed."
    )
    return Decision(
        recipe=scorecard.recipe,
        candidate=scorecard.candidate,
        scorecard_digest=scorecard_digest,
        policy=promote,
        checks=found,
        promoted=not failed,
        headline=headline,
    )


def judge(promote: Promote, scorecard: Stored[Scorecard], store: Store) -> Stored[Decision]:
    """The stored decision about a stored scorecard. Raises CorruptData for damaged evidence."""

    def make(folder: Path) -> Decision:
        decision = decide(promote, scorecard.verify().record, scorecard.digest)
        (folder / FILE).write_text(canonical_json(decision), encoding="utf-8")
        return decision

    return store.once(Decision, decision_key(promote, scorecard.digest), make)


def decision_key(promote: Promote, scorecard_digest: str) -> str:
    """Identity of a decision: what was judged, and by which policy."""
    return identity("decision", VERSION, scorecard=scorecard_digest, policy=promote)


def verdict(decision: Decision) -> Verdict:
    """The decision in the words that a report shows."""
    reasons = [Reason(passed=check.passed, sentence=check.sentence) for check in decision.checks]
    return Verdict(promoted=decision.promoted, headline=decision.headline, reasons=reasons)
