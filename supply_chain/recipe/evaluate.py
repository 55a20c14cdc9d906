"""The `evaluate` block: how a candidate is measured, and what its decisions are worth."""

import re
from typing import Annotated, Literal

from pydantic import AfterValidator, Field, model_validator

from supply_chain.recipe.decoding import DecodingGrid
from supply_chain.recipe.endpoint import Endpoint
from supply_chain.recipe.expression import condition
from supply_chain.recipe.part import Part
from supply_chain.recipe.sources import PathSource, UrlSource
from supply_chain.recipe.tasks import Metric


def _regex(value: str) -> str:
    try:
        re.compile(value)
    except re.error as error:
        raise ValueError(f"not a regular expression: {error}") from None
    return value


def _expression(value: str) -> str:
    condition(value)
    return value


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


Perturbation = Literal["typos", "upper", "lower", "paraphrase", "truncated", "injection"]


ROW_NAMES = {"text", "label", "chars", "words", "file"}
"""What a slice's `where` may read of every row."""


class SliceSpec(Part):
    """Test rows that meet every condition are also scored alone; thirds by length always are."""

    name: str = Field(min_length=1, max_length=60)
    matches: Annotated[str, AfterValidator(_regex)] | None = None
    """Regular expression found in the text."""
    labels: list[str] | None = None
    """The truth is one of these."""
    min_chars: int | None = Field(None, ge=0)
    max_chars: int | None = Field(None, ge=1)
    source: str | None = None
    """Pattern of the file that the row came from: `2026-*/*.jsonl`."""
    language: str | None = Field(None, pattern=r"^[a-z]{2}$")
    """ISO 639-1 code that py3langid gives the text; needs `pip install '.[language]'`."""
    metadata: dict[str, list[str]] | None = None
    """Columns of `data.metadata`, each with the values that belong here."""
    where: Annotated[str, AfterValidator(_expression)] | None = None
    """Expression over `text`, `label`, `chars`, `words`, `file` and the columns of `data.metadata`:
    `chars > 200 and channel in ["mail", "chat"]`."""


class Escalate(Part):
    """Answers that are not sure enough are passed on, so that of those kept no more than a share is wrong.

    The threshold is chosen on half of the validation rows and stored with the artifact; see
    `supply_chain/escalation.py`.
    """

    max_risk: float = Field(gt=0, lt=1)
    """Largest share of mistakes among the answers kept."""
    confidence: float = Field(0.95, ge=0.5, lt=1)
    """Probability that the promise holds."""
    choose: Literal["most", "cheapest"] = "most"
    """Of the thresholds that keep the risk, the one that keeps most answers, or the one with the least expected
    cost; that needs a price of what is passed on (`kpis.escalation_usd` or `generalist_usd_per_1k`)."""


class Judge(Part):
    """A large model that says whether the candidate's texts are at least as good as the references."""

    endpoint: Endpoint
    criterion: str = Field("Which answer serves the person who asked better?", min_length=10)
    experts: Annotated[PathSource | UrlSource, Field(discriminator="kind")] | None = None
    """JSON lines with `text`, `a`, `b` and `verdict` (`a`, `b` or `same`): how far the judge agrees with experts."""


class Generalist(Part):
    """The large model that would answer without a specialist: it is asked the test rows, and its tokens are counted.

    What 1,000 of its answers cost at the endpoint's prices takes the place of `kpis.generalist_usd_per_1k` in the
    report; thresholds, which are chosen before it is asked, take what `kpis` state.
    """

    endpoint: Endpoint


class Evaluate(Part):
    """How the candidate is measured."""

    metric: Metric = "macro_f1"
    """Extraction and multi-label: `exact_match` (the default) or `micro_f1` over fields or labels. Generation:
    `rouge_l` (the default), `chrf`, `bleu`, `exact_match` or `similarity`."""
    also: list[Metric] = []
    """Generation: what is measured besides `metric`; by default `chrf`, `bleu`, `exact_match`."""
    acceptable: float = Field(0.5, gt=0, le=1)
    """Generation: an answer whose `metric` is at least this is right: what wins, mistakes and costs count."""
    baselines: list[Literal["majority", "tfidf", "static"]] = ["majority", "tfidf"]
    """`tfidf` (word counts) and `static` (WordLlama's embeddings, `pip install '.[noise]'`), each with a linear
    model, answer classification only."""
    shots: int = Field(0, ge=0, le=32)
    """Train rows that the untuned base model is shown before each text."""
    resamples: int = Field(2000, ge=200, le=100_000)
    """Bootstrap resamples for intervals."""
    latency_rows: int = Field(60, ge=10)
    """Single requests timed for p50 and p95."""
    judge: Judge | None = None
    """Generation: the candidate's and the champion's texts are judged; needs `pip install '.[endpoint]'`."""
    generalist: Generalist | None = Field(None, exclude_if=lambda value: value is None)
    """A contestant behind an endpoint; needs `pip install '.[endpoint]'`."""
    escalation: Escalate | None = None
    decoding: DecodingGrid | None = Field(None, exclude_if=lambda value: value is None)
    """Generation: settings of writing to try on validation rows; other tasks have one answer, and no parameters."""
    out_of_scope: str | None = None
    """Classification: the label of questions that are none of this specialist's; how many are caught is reported."""
    slices: list[SliceSpec] = []
    perturbations: list[Perturbation] = []
    """The candidate is also asked the rows in these forms: with typos, in capitals or small letters, in other words
    around the same text, cut in half, with an order to answer something else."""
    perturbed_rows: int = Field(200, ge=20)
    """Test rows drawn for each perturbation."""
    corrections: Annotated[PathSource | UrlSource, Field(discriminator="kind")] | None = None
    """Classification: experts' corrections (JSON lines with `text`, `label`, `who`, `when`), asked again of every
    candidate. The same file may be trained on (`train.corrections`)."""
    max_rows: int | None = Field(None, ge=20)
    """Scores a seeded sample of the test split instead of all of it."""
    kpis: Kpis
