"""Sign-off by people: bound to bytes, to a person and to a time."""

from collections.abc import Iterable
from datetime import UTC, datetime, timedelta
from hashlib import sha256

from registry.decisions import Act, Approved, Declined, Logged
from registry.evidence import Evidence
from registry.fleet import Fleet
from registry.manifest import entry_of
from registry.verification import Live
from supply_chain.errors import InvalidInput
from supply_chain.identity import canonical_json
from supply_chain.recipe.promote import Approval
from supply_chain.settings import Settings
from supply_chain.store import Store


def approve(live: Live, evidence: Evidence, role: str, waivers: list[str], act: Act, bound: dict[str, str]) -> Approved:
    """One person's signature. Raises InvalidInput when nobody asked for this role."""
    asked = _asked(live, evidence, role, act)
    expires = datetime.now(UTC) + timedelta(days=asked.valid_days)
    told = {"model": live.name, "version": live.version, "role": role, "expires": expires, "waivers": waivers}
    return Approved.model_validate(told | bound)


def decline(live: Live, evidence: Evidence, role: str, act: Act) -> Declined:
    """One person's refusal. Raises InvalidInput when nobody asked for this role."""
    _asked(live, evidence, role, act)
    return Declined(model=live.name, version=live.version, role=role, release=live.claims.key)


def _asked(live: Live, evidence: Evidence, role: str, act: Act) -> Approval:
    asked = evidence.decision.record.policy.approval
    if asked is None or role not in asked.roles:
        roles = ", ".join(asked.roles) if asked else "nobody"
        raise InvalidInput(f"{live.name} version {live.version} asks for sign-off by {roles}, not by {role}")
    if not act.why:
        raise InvalidInput("a signature says why: --why TEXT")
    return asked


def bound_to(live: Live, fleet: Fleet, settings: Settings, store: Store) -> dict[str, str]:
    """Digests of what a signature is about; a changed byte anywhere gives others."""
    entry = canonical_json([part.model_dump(mode="json") for part in entry_of(live, fleet, settings, store)])
    return {
        "release": live.claims.key,
        "artifact": live.claims.artifact.digest,
        "report": live.claims.report.digest,
        "manifest_entry": sha256(entry.encode()).hexdigest(),
    }


def missing(asked: Approval | None, log: Iterable[Logged], bound: dict[str, str], now: datetime) -> list[str]:
    """The roles whose sign-off is asked for and is not there, each with the reason if one lapsed."""
    if asked is None:
        return []
    lapsed: dict[str, str] = {}
    signed: dict[str, str] = {}
    for logged in log:
        what, who = logged.entry.what, logged.entry.who
        if not isinstance(what, Approved | Declined) or what.release != bound["release"]:
            continue
        if what.role not in asked.roles:
            continue
        if isinstance(what, Declined):
            signed.pop(what.role, None)
            lapsed[what.role] = f"{who} declined: {logged.entry.why}"
        elif {name: getattr(what, name) for name in bound} != bound:
            lapsed[what.role] = f"{who} signed other bytes"
        elif what.expires <= now:
            lapsed[what.role] = f"{who}'s signature expired on {what.expires:%Y-%m-%d}"
        elif who in signed.values() and signed.get(what.role) != who:
            lapsed[what.role] = f"{who} signed for another role"
        else:
            signed[what.role] = who
    return [role + (f" ({lapsed[role]})" if role in lapsed else "") for role in asked.roles if role not in signed]
