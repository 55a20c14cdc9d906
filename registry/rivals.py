"""Who was faster: decisions that others took, and champions that others made, since this one was prepared."""

from typing import TYPE_CHECKING

from evals.records import Scorecard
from registry.decisions import Moved, Standing
from registry.verification import Live
from supply_chain.errors import EvidenceMismatch, InvalidInput

if TYPE_CHECKING:
    from registry.release import Incumbent


def check_meanwhile(name: str, seen: Standing | None, now: Standing | None) -> None:
    """Raises InvalidInput when somebody else decided about this model since `seen`."""
    before = {logged.sha256 for logged in seen.decided.values()} if seen else set()
    since = [logged for logged in (now.decided.values() if now else []) if logged.sha256 not in before]
    if since:
        last = max(since, key=lambda logged: logged.entry.entry).entry
        what = f"{last.what.action} version {last.what.version}" if isinstance(last.what, Moved) else ""
        raise InvalidInput(
            f"{name} was changed meanwhile: {last.who} did {what} (entry {last.entry}: {last.why}). Nothing was done "
            "here; see supply-chain history and decide again"
        )


def check_rival(live: Live, card: Scorecard, rival: "Incumbent | None") -> None:
    """Raises EvidenceMismatch when a version was not compared with today's champion."""
    champion = card.contestant("champion")
    measured, expected = champion.model_digest if champion else None, rival.artifact_digest if rival else None
    if measured != expected:
        today = f"version {rival.version} ({rival.artifact_digest[:12]})" if rival else "none"
        then = f"the champion {measured[:12]}" if measured else "no champion"
        raise EvidenceMismatch(
            f"{live.name} version {live.version} was compared with {then}; the champion to compare with is "
            f"{today}. Evaluate it against that one and register it again."
        )
