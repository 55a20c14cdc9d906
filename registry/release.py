"""Releases: every candidate becomes one MLflow model version; one of them is champion.

Each step is found again by the release's identity, so that a killed registration goes on where it
stopped. The version is made last, with all its tags in one transaction: it is complete or absent.
"""

from typing import TYPE_CHECKING

from pydantic import BaseModel, ConfigDict

from evals.records import Report, Scorecard
from registry.decisions import RELEASES, Log, Standing, standings
from registry.documents import documents_of
from registry.evidence import Claim, Claims, Documents, Evidence
from registry.gate import Decision
from registry.package import log_evidence, log_model
from registry.server import KEY, TAG, experiment_of, run_of, tracking_server
from registry.versions import (
    CANDIDATE,
    CHALLENGER,
    CHAMPION,
    OWNER,
    Quality,
    Release,
    aliases_of,
    champions,
    pages,
    release_of,
    releases,
)
from supply_chain.identity import canonical_json
from supply_chain.recipe import Recipe
from supply_chain.records import Artifact
from supply_chain.settings import Settings
from supply_chain.store import Store, Stored

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from mlflow.entities.model_registry import ModelVersion

__all__ = ["Incumbent", "Release", "champions", "champions_before", "incumbent", "incumbent_of", "register", "releases"]
PREDECESSOR = "predecessor"


class Incumbent(BaseModel):
    """The champion that a candidate is compared with."""

    model_config = ConfigDict(frozen=True, extra="forbid")
    version: int
    artifact_key: str
    artifact_digest: str


def register(  # noqa: PLR0913, PLR0917 (one argument a piece of evidence)
    recipe: Recipe,
    artifact: Stored[Artifact],
    scorecard: Stored[Scorecard],
    decision: Stored[Decision],
    report: Stored[Report],
    training_run: str | None,
    settings: Settings,
    store: Store,
) -> Release:
    """The version of this evidence; a refused model is registered too, with its reasons.

    Raises EvidenceMismatch when the evidence is not about this artifact, CorruptData for damaged
    bytes and Unavailable when MLflow does not answer.
    """
    evidence = Evidence(artifact, scorecard, decision, report)
    evidence.check(recipe.name)
    documents = documents_of(recipe, evidence, store)
    claims = evidence.claims(recipe.name, recipe.route).model_copy(update={"documents": Claim.of(documents)})
    with store.locked(f"registry-{recipe.name}"), tracking_server(settings) as client:
        found = _find(client, recipe.name, claims.key)
        if found is None:
            found = _register(client, recipe, evidence, documents, claims, training_run, settings, store)
        with store.locked(RELEASES):
            _challenge(client, recipe.name, int(found.version), decision.record.promoted, settings)
        return release_of(client, recipe.name, int(found.version))


def incumbent(recipe_name: str, candidate_digest: str, settings: Settings) -> Incumbent | None:
    """The champion to compare a candidate with, or None.

    If the candidate is the champion, this is the one that it was compared with when it was
    promoted: so an unchanged recipe finds the same evidence again.
    """
    with tracking_server(settings) as client:
        return incumbent_of(client, recipe_name, candidate_digest, settings)


def incumbent_of(client: "MlflowClient", name: str, candidate_digest: str, settings: Settings) -> Incumbent | None:
    """As `incumbent`, within a connection that is open already."""
    standing = standings(Log(settings.home).entries()).get(name)
    version = standing.champion if standing else aliases_of(client, name).get(CHAMPION)
    if version is None:
        return None
    champion = release_of(client, name, version)
    if champion.tags.get("artifact.digest") == candidate_digest:
        predecessor = champion.tags.get(PREDECESSOR)
        if not predecessor:
            return None
        champion = release_of(client, name, int(predecessor))
    artifact = champion.claims().artifact
    return Incumbent(version=champion.version, artifact_key=artifact.key, artifact_digest=artifact.digest)


def champions_before(recipe_name: str, candidate_digest: str, settings: Settings) -> list[Incumbent]:
    """The champions so far, oldest first, as the log says; those before the candidate if it is one of them."""
    standing = standings(Log(settings.home).entries()).get(recipe_name, Standing())
    versions = [*standing.line, *([standing.champion] if standing.champion else [])]
    claims = {version: standing.claims[version].artifact for version in versions}
    found = [Incumbent(version=v, artifact_key=of.key, artifact_digest=of.digest) for v, of in claims.items()]
    digests = [one.artifact_digest for one in found]
    return found[: digests.index(candidate_digest)] if candidate_digest in digests else found


def _register(  # noqa: PLR0913, PLR0917
    client: "MlflowClient",
    recipe: Recipe,
    evidence: Evidence,
    documents: Stored[Documents],
    claims: Claims,
    training_run: str | None,
    settings: Settings,
    store: Store,
) -> "ModelVersion":
    experiment = experiment_of(client, recipe.name, settings)
    run = run_of(client, experiment, claims.key, f"release {claims.key[:12]}", {TAG + "stage": "release"})
    log_evidence(client, run, recipe, evidence, documents)
    model_id = log_model(client, run, evidence.artifact, store)
    client.set_terminated(run.info.run_id, "FINISHED")
    _ensure_model(client, recipe)
    tags = {**claims.tags(), **_described(evidence), "training_run": training_run or ""}
    return client.create_model_version(
        recipe.name,
        source=f"models:/{model_id}",
        run_id=run.info.run_id,
        model_id=model_id,
        tags={TAG + name: value for name, value in tags.items()},
        description="\n".join([evidence.decision.record.headline, "", *(f"- {s}" for s in _sentences(evidence))]),
    )


def _described(evidence: Evidence) -> dict[str, str]:
    """Tags that people read, and the digests that the claims reach through other records."""
    card, decision, artifact = evidence.scorecard.record, evidence.decision.record, evidence.artifact.record
    found = evidence.candidate.metric(card.metric)
    outcome = {c.name: f"{'passed' if c.passed else 'failed'}: {c.sentence}" for c in decision.checks}
    return {
        "promoted": "yes" if decision.promoted else "no",
        "headline": decision.headline,
        "quality": canonical_json(Quality(metric=card.metric, **found.model_dump())),
        "splits.digest": card.splits_digest,
        "prompt.digest": artifact.prompt_sha256,
        "base.name": artifact.base_name,
        "base.digest": artifact.base_digest,
        "chat_template.digest": artifact.chat_template_sha256,
        "tokenizer.digest": artifact.tokenizer_sha256,
        **{f"check.{name}": sentence for name, sentence in outcome.items()},
    }


def _sentences(evidence: Evidence) -> list[str]:
    return [check.sentence for check in evidence.decision.record.checks]


def _find(client: "MlflowClient", name: str, key: str) -> "ModelVersion | None":
    query = f"name = '{name}' and tags.`{TAG}release` = '{key}'"
    runs = {v.run_id: v for v in client.search_model_versions(query)}
    for run_id, version in sorted(runs.items(), key=lambda item: int(item[1].version)):
        # A tag that was copied by hand to another version does not make it this release.
        if client.get_run(run_id).data.tags.get(KEY) == key:
            return version
    return None


def _ensure_model(client: "MlflowClient", recipe: Recipe) -> None:
    from mlflow.exceptions import MlflowException  # noqa: PLC0415

    try:
        client.create_registered_model(recipe.name, {OWNER: recipe.owner}, recipe.description)
    except MlflowException as error:
        if error.error_code != "RESOURCE_ALREADY_EXISTS":
            raise


def _challenge(client: "MlflowClient", name: str, version: int, promoted: bool, settings: Settings) -> None:
    """The newest version that passed its gate is the challenger, the newest refused one the candidate."""
    newest = max(int(v.version) for v in pages(client.search_model_versions, filter_string=f"name = '{name}'"))
    standing = standings(Log(settings.home).entries()).get(name, Standing())
    if version == newest and version not in {*aliases_of(client, name).values(), *standing.retired}:
        client.set_registered_model_alias(name, CHALLENGER if promoted else CANDIDATE, str(version))
