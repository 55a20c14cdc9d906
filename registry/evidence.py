"""What a model version claims about its evidence, and whether the stored evidence bears it out.

Claims live in tags, which anyone may edit. So nothing is promoted or published because a tag says
so: every object is read again by key, its bytes are hashed again and the decision is made again.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar, TypeVar

from pydantic import BaseModel, ConfigDict, ValidationError

from evals.records import Contestant, Report, Scorecard
from registry.gate import FILE, Decision, decide
from supply_chain.errors import EvidenceMismatch
from supply_chain.identity import canonical_json, identity
from supply_chain.recipe.route import Route
from supply_chain.records import Artifact
from supply_chain.store import Record, Store, Stored

VERSION = 1
_OBJECTS = ("artifact", "scorecard", "decision", "report", "documents")
R = TypeVar("R", bound=Record)


class Documents(Record):
    """A release's papers for people and machines: `README.md` (model card) and `bom.cdx.json`."""

    kind: ClassVar[str] = "documents"
    release: str
    """Identity of the evidence that they tell about."""


class Claim(BaseModel):
    """One stored object: its key, the digest of its bytes and that of its record."""

    model_config = ConfigDict(frozen=True, extra="forbid")
    key: str
    digest: str
    record: str

    @classmethod
    def of(cls, stored: Stored) -> "Claim":
        """The claim about a stored object."""
        return cls(key=stored.key, digest=stored.digest, record=identity("record", 1, record=stored.record))


class Claims(BaseModel):
    """Everything that makes a release what it is; `key` is its identity."""

    model_config = ConfigDict(frozen=True, extra="forbid")
    recipe: str
    route: Route
    artifact: Claim
    scorecard: Claim
    decision: Claim
    report: Claim
    documents: Claim | None = None
    """None for releases from before there were any, and until they are made."""

    @property
    def key(self) -> str:
        """The release's identity."""
        left_out = {"documents"} if self.documents is None else None
        return identity("release", VERSION, claims=self.model_dump(mode="json", exclude=left_out))

    @property
    def parts(self) -> dict[str, Claim]:
        """Every claim about a stored object, by its kind."""
        return {name: claim for name, claim in self if isinstance(claim, Claim)}

    def tags(self) -> dict[str, str]:
        """The claims as tags."""
        tags = {"release": self.key, "route": canonical_json(self.route)}
        for name, claim in self.parts.items():
            tags.update({f"{name}.{part}": value for part, value in claim.model_dump().items()})
        return tags

    @classmethod
    def from_tags(cls, recipe: str, tags: dict[str, str]) -> "Claims":
        """Raises EvidenceMismatch when tags are missing or do not give the release's identity."""
        try:
            parts = {
                name: Claim(**{part: tags[f"{name}.{part}"] for part in Claim.model_fields})
                for name in _OBJECTS if name != "documents" or "documents.key" in tags
            }  # fmt: skip
            claims = cls(recipe=recipe, route=Route.model_validate_json(tags["route"]), **parts)
        except (KeyError, ValidationError) as error:
            raise EvidenceMismatch(f"a tag of its evidence is missing or unreadable ({_brief(error)})") from None
        if claims.key != tags.get("release"):
            raise EvidenceMismatch(
                f"its tags were edited: they describe release {claims.key[:12]}, "
                f"the tag supply_chain.release says {tags.get('release', '')[:12] or 'nothing'}"
            )
        return claims


@dataclass(frozen=True)
class Evidence:
    """The stored objects behind one release, consistent with each other."""

    artifact: Stored[Artifact]
    scorecard: Stored[Scorecard]
    decision: Stored[Decision]
    report: Stored[Report]

    @property
    def candidate(self) -> Contestant:
        """What the artifact showed."""
        found = self.scorecard.record.contestant(self.scorecard.record.candidate)
        if found is None:
            raise EvidenceMismatch(f"the scorecard does not measure its candidate {self.scorecard.record.candidate}")
        return found

    def claims(self, recipe: str, route: Route) -> Claims:
        """What a version made from this evidence claims."""
        return Claims(
            recipe=recipe,
            route=route,
            artifact=Claim.of(self.artifact),
            scorecard=Claim.of(self.scorecard),
            decision=Claim.of(self.decision),
            report=Claim.of(self.report),
        )

    def check(self, recipe: str) -> None:
        """Raises CorruptData for damaged bytes, EvidenceMismatch when the objects are not about each other."""
        for stored in (self.artifact, self.scorecard, self.decision, self.report):
            stored.verify()
        card, decision, report = self.scorecard.record, self.decision.record, self.report.record
        again = decide(decision.policy, card, self.scorecard.digest)
        _same("the scorecard's record and its scorecard.json", *_both(self.scorecard, "scorecard.json"))
        _same("the decision's record and its decision.json", *_both(self.decision, FILE))
        _same("the recipe of the scorecard", card.recipe, recipe)
        _same("the bytes that were evaluated and the artifact", self.candidate.model_digest, self.artifact.digest)
        _same("the labels that were evaluated and the artifact's", card.labels, self.artifact.record.labels)
        _same("the scorecard that was judged", decision.scorecard_digest, self.scorecard.digest)
        _same("the recorded decision and the gates applied again", canonical_json(decision), canonical_json(again))
        _same("the scorecard in the report", report.scorecard_digest, self.scorecard.digest)
        _same("the decision in the report", report.decision_digest, self.decision.digest)
        _same("the report's outcome and the decision's", report.promoted, decision.promoted)


def reread(claims: Claims, store: Store) -> Evidence:
    """The evidence that `claims` name, read and checked again.

    Raises EvidenceMismatch when an object is gone or is another one, CorruptData for damaged bytes.
    """
    evidence = Evidence(
        _found(Artifact, claims.artifact, store),
        _found(Scorecard, claims.scorecard, store),
        _found(Decision, claims.decision, store),
        _found(Report, claims.report, store),
    )
    evidence.check(claims.recipe)
    if claims.documents is not None:
        _found(Documents, claims.documents, store).verify()
    return evidence


def _found(kind: type[R], claim: Claim, store: Store) -> Stored[R]:
    stored = store.find(kind, claim.key)
    if stored is None:
        raise EvidenceMismatch(f"its {kind.kind} {claim.key[:12]} is not in the store: make it again, then register")
    found = Claim.of(stored)
    _same(f"the digest of its {kind.kind}", found.digest, claim.digest)
    _same(f"the record of its {kind.kind}", found.record, claim.record)
    return stored


def _both(stored: Stored, name: str) -> tuple[str, str]:
    return canonical_json(stored.record), Path(stored.path / name).read_text(encoding="utf-8")


def _same(what: str, found: object, expected: object) -> None:
    if found != expected:
        shown = f": found {_brief(found)}, expected {_brief(expected)}" if isinstance(found, str | bool) else ""
        raise EvidenceMismatch(f"{what} do not agree{shown}. Evaluate and register the model again.")


def _brief(value: object) -> str:
    text = " ".join(str(value).split())
    return text if len(text) <= 60 else f"{text[:12]}…"
