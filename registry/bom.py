"""The bill of materials of a release: CycloneDX 1.6 with a model card, as machines compare it.

No time is stated: the same release gives the same bytes.
"""

import uuid
from typing import Any

from evals.estimates import Estimate
from evals.records import Contestant
from registry.evidence import Evidence
from supply_chain.recipe import Recipe
from supply_chain.records import Origin

SPEC = "1.6"
_MODEL = "model"


def bom_of(recipe: Recipe, evidence: Evidence, release: str) -> dict[str, Any]:
    """The document; `release` is the release's identity and names it."""
    origins = evidence.artifact.record.origins
    refs = [f"{origin.role}-{number}" for number, origin in enumerate(origins, 1)]
    parts = [_origin(ref, origin, recipe, evidence) for ref, origin in zip(refs, origins, strict=True)]
    return {
        "bomFormat": "CycloneDX",
        "specVersion": SPEC,
        "serialNumber": f"urn:uuid:{uuid.UUID(release[:32])}",
        "version": 1,
        "metadata": {
            "tools": {"components": [{"type": "application", "name": "supply-chain"}]},
            "component": _model(recipe, evidence, release, refs),
        },
        "components": parts,
        "dependencies": [{"ref": _MODEL, "dependsOn": refs}, *({"ref": ref} for ref in refs)],
    }


def _model(recipe: Recipe, evidence: Evidence, release: str, refs: list[str]) -> dict[str, Any]:
    artifact, card = evidence.artifact.record, evidence.scorecard.record
    data = [ref for ref, origin in zip(refs, artifact.origins, strict=True) if origin.role == "data"]
    digests = {
        "release": release,
        "artifact": evidence.artifact.digest,
        "scorecard": evidence.scorecard.digest,
        "decision": evidence.decision.digest,
        "report": evidence.report.digest,
        "splits": card.splits_digest,
        "base": artifact.base_digest,
        "weights_before_quantization": artifact.made_from,
        "prompt": artifact.prompt_sha256,
        "tokenizer": artifact.tokenizer_sha256,
        "chat_template": artifact.chat_template_sha256,
    }
    told = {**digests, "format": artifact.format, "runtime": artifact.runtime, "owner": recipe.owner}
    return {
        "type": "machine-learning-model",
        "bom-ref": _MODEL,
        "name": recipe.name,
        "version": evidence.artifact.digest[:12],
        "description": recipe.description,
        "licenses": _licences(artifact.origins),
        "components": [
            {"type": "file", "name": name, "hashes": [{"alg": "SHA-256", "content": file.sha256}]}
            for name, file in sorted(evidence.artifact.files.items())
        ],
        "properties": _properties(told),
        "modelCard": {
            "modelParameters": {
                "task": recipe.task,
                "datasets": [{"ref": ref} for ref in data],
                "inputs": [{"format": "text"}],
                "outputs": [{"format": "text"}],
            },
            "quantitativeAnalysis": {"performanceMetrics": _metrics(evidence)},
            "considerations": {
                "useCases": [recipe.description],
                "technicalLimitations": [
                    f"{'passed' if check.passed else 'failed'}: {check.sentence}"
                    for check in evidence.decision.record.checks
                ],
            },
        },
    }


def _metrics(evidence: Evidence) -> list[dict[str, Any]]:
    candidate: Contestant = evidence.candidate
    found = [_metric(name, estimate) for name, estimate in sorted(candidate.metrics.items())]
    sliced = [
        _metric(evidence.scorecard.record.metric, part.estimate) | {"slice": part.name}
        for part in evidence.scorecard.record.slices
        if part.estimate is not None
    ]
    return [*found, *sliced, _metric("usd_per_1k", candidate.usd_per_1k)]


def _metric(name: str, estimate: Estimate) -> dict[str, Any]:
    bounds = {"lowerBound": repr(estimate.low), "upperBound": repr(estimate.high)}
    return {"type": name, "value": repr(estimate.mean), "confidenceInterval": bounds}


def _origin(ref: str, origin: Origin, recipe: Recipe, evidence: Evidence) -> dict[str, Any]:
    terms = {"role": origin.role, "sensitivity": origin.sensitivity, "zone": origin.zone}
    part: dict[str, Any] = {"type": "machine-learning-model", "bom-ref": ref, "name": origin.name}
    if origin.role == "base":
        terms["digest"] = evidence.artifact.record.base_digest
    elif origin.role == "data":
        part["type"] = "data"
        part["data"] = [{"type": "dataset", "name": origin.name, "classification": origin.sensitivity}]
        terms["digest"] = evidence.scorecard.record.splits_digest
        if recipe.data.attribution:
            part["copyright"] = recipe.data.attribution
    return {**part, "licenses": _licences([origin]), "properties": _properties(terms)}


def _licences(origins: list[Origin]) -> list[dict[str, Any]]:
    """SPDX identifiers where a licence has one, names where it has none."""
    from cyclonedx.spdx import fixup_id  # noqa: PLC0415 (only where a release is registered)

    names = dict.fromkeys(origin.license for origin in origins)
    spdx = {name: fixup_id(name) for name in names}
    return [{"license": {"id": known} if known else {"name": name}} for name, known in spdx.items()]


def _properties(values: dict[str, str]) -> list[dict[str, str]]:
    return [{"name": f"supply_chain:{name}", "value": value} for name, value in sorted(values.items())]
