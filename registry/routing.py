"""The routing manifest: which specialists may answer, where their bytes are and who gets which request.

Its JSON Schema is published as `manifest.schema.json`; readers in any language need that file alone.
"""

import json
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field

from evals.estimates import Estimate
from registry.fleet import Fallback, Policy, Use
from registry.versions import Quality
from supply_chain.escalation import Escalation
from supply_chain.recipe.data import Sensitivity, Sha256
from supply_chain.recipe.prompt import Prompt
from supply_chain.recipe.route import Cause
from supply_chain.records import Origin

SCHEMA_VERSION = 1
SCHEMA = Path(__file__).with_name("manifest.schema.json")


class Entry(BaseModel):
    """A block of the manifest: unknown keys are refused."""

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)


class MlflowVersion(Entry):
    """The version in MLflow's model registry."""

    name: str
    version: int = Field(ge=1)


class ArtifactAt(Entry):
    """A folder of weights, tokenizer, `serving.json` and `entry.json`."""

    uri: str
    """Where the folder is."""
    sha256: Sha256
    """SHA-256 of the compact JSON `{"files":{NAME:SHA-256,…},"stage":"files","version":1}` with sorted keys, over
    the files that `entry.json` lists."""
    format: str
    size_bytes: int = Field(ge=0)


class DocumentsAt(Entry):
    """A folder with the model card (`README.md`) and the CycloneDX bill of materials (`bom.cdx.json`)."""

    uri: str
    sha256: Sha256
    """As an artifact's."""


class ServedPrompt(Entry):
    """How a text becomes model input, and labels become answers."""

    block: Prompt
    sha256: Sha256
    """Identity of prompt block, labels and renderer."""


class Base(Entry):
    """The base model that the specialist was trained from."""

    name: str
    digest: Sha256


class LatencyMs(Entry):
    """Wall time of single decisions on the machine that evaluated."""

    p50: float
    p95: float


class AdapterAt(Entry):
    """A LoRA adapter in peft's format, for servers that share one base model."""

    uri: str
    sha256: Sha256
    """As an artifact's."""
    rank: int | None = Field(None, ge=1, le=512)
    """None in generations from before it was told."""


class DecodingTried(Entry):
    """Parameters, and the metric that they reached on validation rows."""

    temperature: float
    top_p: float
    repetition_penalty: float
    max_new_tokens: int
    value: Estimate


class Choice(Entry):
    """Every parameter set that was tried; the first of those with the highest mean was taken."""

    metric: str
    tried: list[DecodingTried] = Field(min_length=1)


class Decoding(Entry):
    """How the answers that were measured were found; other parameters are another model as far as evidence goes."""

    answers: Literal["ranked", "written"]
    """`ranked`: the likeliest of the labels, by their log-probability: there are no parameters; `written`: text."""
    temperature: float = Field(ge=0)
    """Of sampling; 0 is greedy."""
    max_new_tokens: int = Field(ge=0)
    """Room for a written answer; 0 where labels are ranked."""
    top_p: float = Field(1.0, gt=0, le=1, exclude_if=lambda value: value == 1)
    """Tokens are drawn from the likeliest that together have this probability; 1: from all."""
    repetition_penalty: float = Field(1.0, ge=1, exclude_if=lambda value: value == 1)
    """Over the tokens of prompt and answer, as vLLM and transformers define it; 1: none."""
    chosen: Choice | None = Field(None, exclude_if=lambda value: value is None)
    """What these parameters were chosen from, for these weights; None: nothing else was tried."""


class Model(Entry):
    """One promoted specialist."""

    name: str
    mlflow: MlflowVersion
    artifact: ArtifactAt
    documents: DocumentsAt | None = None
    """Absent for releases that were registered before there were any."""
    adapter: AdapterAt | None = None
    """What full precision was merged from. Its answers were measured as full precision, not as `quality`."""
    decoding: Decoding | None = None
    promise: Escalation | None = None
    """The confidence below which an answer is passed on, the risk that this keeps, and on how many rows it held."""
    chat_template_sha256: Sha256
    tokenizer_sha256: Sha256
    prompt: ServedPrompt
    labels: list[str]
    base: Base
    license: str
    """The base model's; `origins` tells all of them."""
    splits_sha256: Sha256
    """Digest of the data that it was trained and tested on."""
    made_from: Sha256
    """Digest of the weights before quantization."""
    origins: list[Origin]
    use: Use
    sensitivity: Sensitivity
    """Of the text that it was made from, and that it may be sent."""
    zone: str
    """Where it and its text must stay; `any`: no limit."""
    context_tokens: int
    quality: Quality
    latency_ms: LatencyMs
    usd_per_1k: Estimate
    """Mistakes and compute of 1,000 decisions."""
    size_bytes: int


class Candidate(Entry):
    """A model and its share of a route's requests."""

    model: str
    weight: float = Field(gt=0, le=1)


class ModelRoute(Entry):
    """Requests that reach one specialist."""

    task: str
    keywords: list[str]
    utterances: list[str]
    candidates: list[Candidate] = Field(min_length=1)
    sensitivity: Sensitivity
    zone: str
    min_confidence: float | None
    """A less confident answer counts as `low_confidence`; by default the model's promised threshold."""
    max_hops: int
    fallbacks: dict[Cause, str]
    """By cause: another specialist, the fleet's fallback, or `none`."""


class Decisions(Entry):
    """Up to where the decision log was followed."""

    entries: int = Field(ge=0)
    head: Sha256 | None
    """SHA-256 of the last entry's line."""


class Signature(Entry):
    """Over the canonical JSON (RFC 8785) of the manifest without this member."""

    algorithm: Literal["ed25519"] = "ed25519"
    key: Sha256
    """SHA-256 of the raw public key."""
    value: Annotated[str, Field(pattern="^[0-9a-f]{128}$")]


class RouterAt(Entry):
    """A folder with `router.safetensors` and `router.json`; `sha256` as an artifact's."""

    uri: str
    sha256: Sha256
    accuracy: Estimate
    false_rejection: Estimate


class FleetContent(Entry):
    """What a generation says; unchanged content is not published again."""

    fleet: str
    models: list[Model]
    routes: list[ModelRoute]
    fallback: Fallback
    policy: Policy
    router: RouterAt | None
    """The learned classifier; without it, requests are routed by task and keywords."""


class RoutingManifest(FleetContent):
    """One generation of the fleet."""

    schema_version: Literal[1]
    generation: Annotated[int, Field(ge=1)]
    previous: Sha256 | None
    """SHA-256 of the previous generation's file."""
    decisions: Decisions
    signature: Signature


def schema() -> dict[str, Any]:
    """The manifest's JSON Schema; `manifest.schema.json` holds the same."""
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        **RoutingManifest.model_json_schema(mode="serialization"),
    }


def schema_text() -> str:
    """What `manifest.schema.json` must hold. Write it anew after a change of these records:

    `python -c "from registry.routing import *; SCHEMA.write_text(schema_text())"`
    """
    return json.dumps(schema(), indent=2, sort_keys=True, ensure_ascii=False) + "\n"
