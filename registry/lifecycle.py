"""The life of a release: candidate, challenger, champion, previous, retired.

A change is checked first, as a whole fleet; then it is logged, which is the moment it happens; then
the manifest is published and MLflow's aliases follow. A process that is killed or loses MLflow after
the log entry leaves the rest to the next command, which brings both up to the log.
"""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, TypeVar

from registry.aliases import follow
from registry.approval import approve, bound_to, decline, missing
from registry.decisions import RELEASES, Act, Approved, Declined, Log, Moved, Standing, standings, whoami
from registry.delivery import deliver
from registry.evidence import Evidence
from registry.fleet import Fleet
from registry.gate import Decision
from registry.generations import PublishedManifest
from registry.manifest import compose, put_in_force
from registry.release import incumbent_of
from registry.rivals import check_meanwhile, check_rival
from registry.routing import FleetContent
from registry.server import KEY, retried
from registry.signing import Key
from registry.verification import Live, verified
from registry.versions import Release, release_of
from supply_chain.errors import CorruptData, EvidenceMismatch, InvalidInput, Unavailable, Unreachable
from supply_chain.settings import Settings
from supply_chain.store import Store

if TYPE_CHECKING:
    from mlflow import MlflowClient

Standings = dict[str, Standing]
M = TypeVar("M", Moved, Moved | None)


@dataclass(frozen=True)
class Desk:
    """Where releases are decided: one fleet, its log, its manifest and its aliases in MLflow."""

    fleet: Fleet
    settings: Settings
    store: Store

    def promote(self, release: Release, act: Act | None = None) -> Release:
        """Makes a release the champion; the champion before it becomes `previous`.

        Nothing that `release` or its tags say is believed. Raises EvidenceMismatch when the evidence
        does not bear the promotion or names another champion than today's, CorruptData for damaged
        bytes, InvalidInput when the fleet would not fit together.
        """
        act = act or Act(whoami(), release.headline)
        name, version = release.name, release.version
        seen = self._seen(name)
        live = retried(self.settings, lambda client: _claimed(client, name, version))
        evidence = verified(live, self.store)

        def decide(now: Standings) -> Moved | None:
            standing = now.get(name, Standing())
            if standing.champion == version:
                return None
            if version in standing.retired:
                raise InvalidInput(f"{name} version {version} is retired: change the recipe to make another version")
            unsigned = self._unsigned(live, evidence)
            if unsigned:
                raise InvalidInput(unsigned)
            digest = evidence.artifact.digest
            rival = retried(self.settings, lambda client: incumbent_of(client, name, digest, self.settings))
            check_rival(live, evidence.scorecard.record, rival)
            return Moved(
                action="promote",
                model=name,
                version=version,
                replaced=standing.champion,
                rival=rival.version if rival else None,
                claims=live.claims,
            )

        self._change(name, seen, decide, act)
        return retried(self.settings, lambda client: release_of(client, name, version))

    def canary(self, release: Release, share: float, act: Act) -> Moved:
        """Gives a version that may be promoted a share of the champion's requests; 0 ends it.

        Raises what `promote` raises, and InvalidInput without a champion.
        """
        if not 0 <= share < 1:
            raise InvalidInput(f"a canary's share lies between 0 and 1, found {share:g}")
        name, version = release.name, release.version
        seen = self._seen(name)
        live = retried(self.settings, lambda client: _claimed(client, name, version))
        evidence = verified(live, self.store)

        def decide(now: Standings) -> Moved:
            standing = now.get(name, Standing())
            if share == 0 and (standing.canary is None or standing.canary[0] != version):
                raise InvalidInput(f"{name} version {version} is no canary")
            if standing.champion in (None, version):
                raise InvalidInput(f"{name} version {version} needs another version as champion to be its canary")
            if version in standing.retired:
                raise InvalidInput(f"{name} version {version} is retired: change the recipe to make another version")
            unsigned = self._unsigned(live, evidence) if share else None
            if unsigned:
                raise InvalidInput(unsigned)
            told = {"model": name, "version": version, "replaced": standing.champion, "claims": live.claims}
            return Moved.model_validate({"action": "canary", "share": share, **told})

        return self._change(name, seen, decide, act)

    def waits(self, release: Release) -> str | None:
        """Why a program may not promote this release, or None."""
        standing = standings(Log(self.settings.home).entries()).get(release.name, Standing())
        name, version = release.name, release.version
        if version in standing.retired:
            return f"{name} version {version} is retired; change the recipe and run it to make another version"
        if version in standing.withdrawn:
            return f"{name} version {version} was rolled back from: supply-chain promote {name} --version {version}"
        live = Live.of(release)
        judged = self.store.find(Decision, live.claims.decision.key)
        if standing.champion == version or judged is None or judged.record.policy.approval is None:
            return None
        return self._unsigned(live, verified(live, self.store))

    def approve(self, release: Release, role: str, act: Act, waivers: list[str] | None = None) -> Approved:
        """Signs a version for a role that its recipe asks for. Raises InvalidInput, EvidenceMismatch, CorruptData."""
        live = retried(self.settings, lambda client: _claimed(client, release.name, release.version))
        evidence = verified(live, self.store)
        with self.store.locked(RELEASES):
            bound = bound_to(live, self.fleet, self.settings, self.store)
            what = approve(live, evidence, role, waivers or [], act, bound)
            Log(self.settings.home).append(what, act)
        return what

    def decline(self, release: Release, role: str, act: Act) -> Declined:
        """Refuses a version for a role that its recipe asks for. Raises InvalidInput, EvidenceMismatch, CorruptData."""
        live = retried(self.settings, lambda client: _claimed(client, release.name, release.version))
        what = decline(live, verified(live, self.store), role, act)
        with self.store.locked(RELEASES):
            Log(self.settings.home).append(what, act)
        return what

    def _unsigned(self, live: Live, evidence: Evidence) -> str | None:
        """Whose sign-off is missing, in a sentence."""
        asked = evidence.decision.record.policy.approval
        if asked is None:
            return None
        bound = bound_to(live, self.fleet, self.settings, self.store)
        roles = missing(asked, Log(self.settings.home).entries(), bound, datetime.now(UTC))
        if not roles:
            return None
        return (
            f"{live.name} version {live.version} waits for sign-off by {', '.join(roles)}: "
            f"supply-chain approve {live.name} --version {live.version} --role ROLE --why TEXT"
        )

    def rollback(self, name: str, act: Act, version: int | None = None) -> Moved:
        """Returns to a former champion (by default the one before), whose bytes are verified again.

        Raises InvalidInput when there is none, EvidenceMismatch or CorruptData when it is not intact.
        """
        seen = self._seen(name)

        def decide(now: Standings) -> Moved:
            standing = now.get(name, Standing())
            to = version or standing.previous
            if to is None or to not in standing.line:
                line = ", ".join(map(str, standing.line)) or "none"
                wanted = f"version {version}" if version else "the version before"
                raise InvalidInput(f"{name} cannot go back to {wanted}: its former champions are {line}")
            verified(Live(name, to, standing.claims[to]), self.store)
            return Moved(action="rollback", model=name, version=to, replaced=standing.champion)

        return self._change(name, seen, decide, act)

    def retire(self, name: str, act: Act, version: int | None = None) -> Moved:
        """Takes a version (by default the champion) out of the fleet for good. Raises InvalidInput."""
        seen = self._seen(name)

        def decide(now: Standings) -> Moved:
            standing = now.get(name, Standing())
            what = version or standing.champion
            if what is None:
                raise InvalidInput(f"{name} has no champion: name the version to retire")
            if what in standing.retired:
                raise InvalidInput(f"{name} version {what} is retired already")
            retried(self.settings, lambda client: release_of(client, name, what))
            return Moved(action="retire", model=name, version=what, replaced=standing.champion)

        return self._change(name, seen, decide, act)

    def publish(self, act: Act | None = None) -> PublishedManifest:
        """Brings manifest and aliases up to the log: what a killed command left is done here."""
        with self.store.locked(RELEASES):
            now = standings(Log(self.settings.home).entries())
            return self._bring_up(now, self._compose(now), act or Act(whoami(), "published"))

    def _seen(self, name: str) -> Standing | None:
        """Where a model stands as its decision is taken, without waiting for those who are deciding."""
        log = Log(self.settings.home)
        try:
            return standings(log.entries()).get(name)
        except CorruptData:  # read between another's two writes; a damaged log fails again, under the lock
            with self.store.locked(RELEASES):
                return standings(log.entries()).get(name)

    def _change(self, name: str, seen: Standing | None, decide: Callable[[Standings], M], act: Act) -> M:
        """One decision. Of two about the same model at the same time the first holds, and the second learns of it."""
        log = Log(self.settings.home)
        with self.store.locked(RELEASES):
            now = standings(log.entries())
            check_meanwhile(name, seen, now.get(name))
            what = decide(now)
            if what is None:
                self._bring_up(now, self._compose(now), act)
                return None
            before = now.get(what.model, Standing())
            content = self._compose({**now, what.model: before.after(what)})
            logged = log.append(what, act)
            self._bring_up({**now, what.model: before.after(what, logged)}, content, act)
            return what

    def _compose(self, now: Standings) -> FleetContent:
        return compose(champions_of(now), self.fleet, self.settings, self.store)

    def _bring_up(self, now: Standings, content: FleetContent, act: Act) -> PublishedManifest:
        published = put_in_force(content, Key.of(self.fleet.signing, self.settings), self.settings, act)
        try:
            follow(now, self.settings)
        except Unavailable as error:
            raise Unreachable(
                f"generation {published.manifest.generation} is in force and logged; MLflow's aliases will follow with "
                f"the next command, since {error}"
            ) from error
        deliver(published, self.fleet, self.settings)
        return published


def champions_of(now: Standings) -> list[Live]:
    """Every champion, and every canary behind its champion, as the log says."""
    found = []
    for name, standing in sorted(now.items()):
        if standing.champion is not None:
            found.append(Live(name, standing.champion, standing.claims[standing.champion]))
        if standing.canary is not None:
            version, share = standing.canary
            found.append(Live(name, version, standing.claims[version], share))
    return found


def _claimed(client: "MlflowClient", name: str, version: int) -> Live:
    current = release_of(client, name, version)
    live = Live.of(current)
    if client.get_run(current.run_id).data.tags.get(KEY) != current.tags["release"]:
        raise EvidenceMismatch(f"{name} version {version}: its tags are those of another release. Register it again.")
    return live
