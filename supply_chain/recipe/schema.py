"""The recipe schema. Defaults live here, once; a recipe states decisions."""

import re
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, Field, ValidationInfo, model_validator

from supply_chain.recipe.automate import Automate
from supply_chain.recipe.data import DataSpec, Task
from supply_chain.recipe.distill import DistillTrain
from supply_chain.recipe.part import Part, Surroundings
from supply_chain.recipe.sources import is_pinned
from supply_chain.recipe.tasks import METRICS, Metric, for_task, misfits
from supply_chain.recipe.teachers import teacher_faults
from supply_chain.recipe.train import FullTrain, HeadTrain, LoraTrain, QloraTrain


def _regex(value: str) -> str:
    try:
        re.compile(value)
    except re.error as error:
        raise ValueError(f"not a regular expression: {error}") from None
    return value


def _known_base(value: str, info: ValidationInfo) -> str:
    surroundings: Surroundings | None = info.context
    if surroundings is not None and value not in surroundings.bases:
        raise ValueError(f"unknown base model {value!r}; known: {', '.join(surroundings.bases)}")
    return value


class PlainPrompt(Part):
    """Text and answer with the fewest tokens around them."""

    kind: Literal["plain"] = "plain"
    before: str = ""
    after: str = "\nLabel:"
    answers: dict[str, str] = {}
    """What the model writes for a label (or a field's name); by default the label itself."""
    order: list[str] = Field([], exclude_if=lambda value: not value)
    """Extraction: fields in the order in which they are written; the others follow, sorted. A small model learns
    fastest in the order of the text."""


class ChatPrompt(Part):
    """The base model's own chat template, with an instruction as system message."""

    kind: Literal["chat"]
    instruction: str
    answers: dict[str, str] = {}
    """What the model writes for a label (or a field's name); by default the label itself."""
    order: list[str] = Field([], exclude_if=lambda value: not value)
    """Extraction: fields in the order in which they are written; the others follow, sorted. A small model learns
    fastest in the order of the text."""


Train = Annotated[LoraTrain | QloraTrain | FullTrain | HeadTrain | DistillTrain, Field(discriminator="method")]
Prompt = Annotated[PlainPrompt | ChatPrompt, Field(discriminator="kind")]


class BnbNf4(Part):
    """bitsandbytes NormalFloat4 (Dettmers et al. 2023, arXiv:2305.14314)."""

    scheme: Literal["bnb-nf4"]
    double_quantization: bool = True
    calibration_rows: int = Field(256, ge=0, le=10_000)
    """Train rows whose activations choose the codes (GPTQ); 0 rounds each weight to its nearest code."""


Quantize = Annotated[BnbNf4, Field(discriminator="scheme")]


class Kpis(Part):
    """What decisions and mistakes are worth, in US dollars."""

    volume_per_month: int = Field(ge=1)
    mistake_usd: float = Field(ge=0)
    """Cost of any mistake that `mistakes` does not name."""
    mistakes: dict[str, float] = {}
    """Cost of one kind of mistake: `negative->positive: 0.40` (truth->answer)."""
    compute_usd_per_hour: float = Field(0.10, ge=0)
    """Price of the machine while it decides."""
    generalist_usd_per_1k: float | None = Field(None, ge=0)
    """What 1,000 requests to a generalist's endpoint cost; with it the report compares a month's total cost."""
    escalation_usd: float | None = Field(None, ge=0)
    """Cost of one answer that is passed on, human minutes included; default: a request to the generalist."""
    training_usd: float = Field(0, ge=0)
    """One training with its evaluation."""
    trainings_per_year: float = Field(4, ge=0)
    hosting_usd_per_month: float = Field(0, ge=0)
    """What is paid whether or not it decides."""
    review_hours_per_month: float = Field(0, ge=0)
    """Experts' time for labels and sign-off."""
    review_usd_per_hour: float = Field(0, ge=0)

    @model_validator(mode="after")
    def _arrows(self) -> "Kpis":
        for kind in self.mistakes:
            if kind.count("->") != 1:
                raise ValueError(f"mistakes: {kind!r} must read truth->answer")
        return self


Perturbation = Literal["typos", "upper", "lower", "truncated", "injection"]


class SliceSpec(Part):
    """Test rows that meet every condition are also scored alone; thirds by length always are."""

    name: str = Field(min_length=1, max_length=60)
    matches: Annotated[str, AfterValidator(_regex)] | None = None
    """Regular expression found in the text."""
    labels: list[str] | None = None
    """The truth is one of these."""
    min_chars: int | None = Field(None, ge=0)
    max_chars: int | None = Field(None, ge=1)


class Escalate(Part):
    """Answers that are not sure enough are passed on, so that of those kept no more than a share is wrong.

    The threshold is chosen on half of the validation rows and stored with the artifact; see
    `supply_chain/escalation.py`.
    """

    max_risk: float = Field(gt=0, lt=1)
    """Largest share of mistakes among the answers kept."""
    confidence: float = Field(0.95, ge=0.5, lt=1)
    """Probability that the promise holds."""


class Evaluate(Part):
    """How the candidate is measured."""

    metric: Metric = "macro_f1"
    """Extraction and multi-label: `exact_match` (the default) or `micro_f1` over fields or labels."""
    baselines: list[Literal["majority", "tfidf"]] = ["majority", "tfidf"]
    """`tfidf` answers classification only."""
    shots: int = Field(0, ge=0, le=32)
    """Train rows that the untuned base model is shown before each text."""
    resamples: int = Field(2000, ge=200, le=100_000)
    """Bootstrap resamples for intervals."""
    latency_rows: int = Field(60, ge=10)
    """Single requests timed for p50 and p95."""
    escalation: Escalate | None = None
    slices: list[SliceSpec] = []
    perturbations: list[Perturbation] = []
    """The candidate is also asked the rows in these forms: with typos, in capitals, cut in half, with an order to
    answer something else."""
    perturbed_rows: int = Field(200, ge=20)
    """Test rows drawn for each perturbation."""
    max_rows: int | None = Field(None, ge=20)
    """Scores a seeded sample of the test split instead of all of it."""
    kpis: Kpis


class Approval(Part):
    """People who must sign before a version may become champion."""

    roles: list[Annotated[str, Field(pattern=r"^[a-z][a-z0-9_-]{0,40}$")]] = Field(min_length=1)
    """One person each: `[domain, risk]`."""
    valid_days: int = Field(30, ge=1, le=3650)
    """A signature counts for so long."""


class Promote(Part):
    """Gates: what a candidate must show before it may become champion."""

    minimum: float = Field(ge=0, le=1)
    """The metric's lower 95% bound must reach this."""
    beats: list[Literal["majority", "tfidf", "base"]] = ["tfidf"]
    """The 95% interval of the difference to each must lie above 0."""
    champion_margin: float = Field(0.01, ge=0, le=1)
    """The candidate's loss against the current champion must stay within this (95%, paired)."""
    quantization_loss: float = Field(0.02, ge=0, le=1)
    """How much of the metric 4-bit may cost against full precision."""
    slice_minimum: float | None = Field(None, ge=0, le=1)
    """No slice may be shown to lie below this (its upper 95% bound), nor to be worse than the champion (Holm)."""
    min_valid: float | None = Field(None, ge=0, le=1)
    """Written answers: the share that can be read at all (its lower 95% bound) must reach this."""
    max_drop: float | None = Field(None, ge=0, le=1)
    """No perturbation may cost more of the metric than this (its unfavourable 95% bound)."""
    max_p95_ms: float | None = Field(None, gt=0)
    max_size_mb: float | None = Field(None, gt=0)
    max_usd_per_1k: float | None = Field(None, gt=0)
    approval: Approval | None = None
    """Without it, passing the gates is enough."""


Cause = Literal["error", "timeout", "low_confidence", "context_overflow", "policy"]


class Route(Part):
    """Which requests reach this specialist once it is champion."""

    task: str
    """Name by which callers ask for it."""
    keywords: list[str] = []
    utterances: list[str] = []
    """Requests as callers put them."""
    fallback: str | None = None
    """Who answers instead: a recipe, the fleet's fallback (the default), or `none`: the caller gets an error."""
    fallbacks: dict[Cause, str] = {}
    """Who answers instead for one cause."""
    min_confidence: float | None = Field(None, ge=0, le=1)
    """Below this confidence the answer counts as `low_confidence`."""
    max_hops: int = Field(2, ge=0, le=8)
    """Fallbacks in a row before the caller gets an error."""


class Recipe(Part):
    """One specialist, from data to route."""

    name: Annotated[str, Field(pattern=r"^[a-z][a-z0-9_]{1,60}$")]
    description: str = Field(min_length=10)
    owner: Annotated[str, Field(pattern=r"^(team:[A-Za-z0-9_-]+|[^@\s]+@[^@\s]+\.[^@\s]+)$")]
    """`team:name` or an e-mail address."""
    task: Task = "classification"
    data: DataSpec
    base: Annotated[str, AfterValidator(_known_base)]
    """Name in `base_models.yaml`."""
    prompt: Prompt = PlainPrompt()
    train: Train
    quantize: list[Quantize] = Field([BnbNf4(scheme="bnb-nf4")], min_length=1, max_length=1)
    evaluate: Evaluate
    promote: Promote
    route: Route
    automate: Automate = Automate()

    @model_validator(mode="before")
    @classmethod
    def _one_task(cls, values: Any) -> Any:
        return for_task(values) if isinstance(values, dict) and values.get("task") in METRICS else values

    @model_validator(mode="after")
    def _same_task(self, info: ValidationInfo) -> "Recipe":
        if self.data.task != self.task:
            raise ValueError(f"data.task is {self.data.task}, but task is {self.task}: leave data.task out")
        found = misfits(self.task, self.evaluate.metric, {*self.evaluate.baselines, *self.promote.beats})
        if self.task != "classification" and self.evaluate.kpis.mistakes:
            found.append("evaluate.kpis.mistakes needs classification; a wrong answer costs mistake_usd")
        if self.task != "classification" and self.train.method == "head":
            found.append("train.method head answers with one label of classification; take lora, qlora or full")
        if isinstance(self.train, DistillTrain):
            found += teacher_faults(self.name, self.task, self.base, self.train, info.context)
        if self.task != "classification" and self.train.stopping:
            found.append("train.stopping ranks labels, so it needs classification")
        if found:
            raise ValueError("; ".join(found))
        return self

    @model_validator(mode="after")
    def _may_change(self) -> "Recipe":
        if self.automate.on_new_data and is_pinned(self.data.source):
            raise ValueError("automate.on_new_data: data.source names its SHA-256, so its bytes never change")
        return self
