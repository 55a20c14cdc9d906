"""Which versions wait for people, and whose word is still missing."""

from dataclasses import dataclass
from datetime import UTC, datetime

from registry.approval import bound_to, missing
from registry.decisions import Log, Standing, standings
from registry.gate import Decision
from registry.lifecycle import Desk
from registry.release import Release, releases
from registry.verification import Live, verified
from supply_chain.errors import CorruptData, EvidenceMismatch
from supply_chain.identity import identity


@dataclass(frozen=True)
class Waiting:
    """A version that passed its gate and asks for signatures."""

    release: Release
    decision: Decision | None
    missing: list[str]
    """Roles without a valid signature, each with what became of the last one."""
    bound: str
    """Digest of everything that a signature would be about; empty if it cannot be signed."""
    fault: str | None = None
    """What voids the version: bytes that are not those that were judged."""


def waiting(desk: Desk) -> list[Waiting]:
    """Every challenger whose recipe asks for signatures, the oldest first."""
    standing = standings(Log(desk.settings.home).entries())
    found = []
    for release in releases(desk.settings):
        retired = release.version in standing.get(release.name, Standing()).retired
        if "challenger" in release.aliases and not retired:
            one = waiting_for(release, desk)
            if one is not None:
                found.append(one)
    return sorted(found, key=lambda one: (one.release.created, one.release.name))


def waiting_for(release: Release, desk: Desk, read_again: bool = False) -> Waiting | None:
    """Where one version stands, or None where nobody's signature is asked for.

    Files that were touched since they were verified are read again; with `read_again`, all are.
    """
    try:
        live = Live.of(release)
        judged = desk.store.find(Decision, live.claims.decision.key)
        asked = judged.record.policy.approval if judged else None
        if judged is not None and asked is None:
            return None
        bound = bound_to(live, desk.fleet, desk.settings, desk.store)
        if read_again:
            verified(live, desk.store)
    except (CorruptData, EvidenceMismatch) as error:
        void = f"Nothing that was signed counts, and nothing can be signed: {error}"
        return Waiting(release, None, [], "", void)
    roles = missing(asked, Log(desk.settings.home).entries(), bound, datetime.now(UTC))
    return Waiting(release, judged.record if judged else None, roles, identity("bound", 1, **bound))
