"""The evidence: estimates with their intervals, the scorecard and the report made from it."""

from typing import ClassVar

from pydantic import Field

from evals.estimates import Estimate, Evidence
from evals.paid import Generalist
from evals.stock import StockScore
from evals.sureness import Confidence
from supply_chain.recipe.data import Task
from supply_chain.recipe.evaluate import Kpis
from supply_chain.recipe.tasks import Metric
from supply_chain.store import Record


class Prediction(Evidence):
    """One contestant's answer to one test row; the text is looked up by `id` in the splits."""

    id: str
    group: str
    label: str
    """The truth."""
    answer: str
    confidence: float
    """Probability of `answer` among the labels, or of what was written."""
    probabilities: list[float]
    """One for each label, in the labels' order; none for a written answer."""
    written: str = ""
    """What the model wrote, where it writes answers; `answer` is empty if that holds none."""


class Difference(Evidence):
    """`contestant` minus `against` on the same rows; positive means that `contestant` is better."""

    contestant: str
    against: str
    metric: Metric
    estimate: Estimate
    wins: int = 0
    """Rows that only `contestant` has exactly right."""
    losses: int = 0
    """Rows that only `against` has exactly right."""
    p_value: float = 1.0
    """McNemar's mid-P of wins and losses, adjusted by Holm over the contestant's comparisons."""


class Contestant(Evidence):
    """What one model or baseline showed on the test rows, and what it costs."""

    name: str
    title: str
    model_digest: str
    """Empty for baselines, which are refitted."""
    metrics: dict[str, Estimate]
    """Every metric of the task by name; see `evals/metrics.py`."""
    unscored: dict[str, int] = {}
    """Rows that a metric could not score, and left out; only metrics with such rows."""
    p50_ms: float
    p95_ms: float
    decisions_per_second: float
    load_seconds: float = 0.0
    size_bytes: int
    peak_memory_bytes: int
    usd_per_1k: Estimate
    """Mistakes and compute of 1,000 decisions."""
    usd_per_month: float
    predictions_key: str
    predictions_digest: str

    def metric(self, name: str) -> Estimate:
        """The estimate of one metric."""
        return self.metrics[name]


class LabelScore(Evidence):
    """How one label, or one field, fared; None where a share has nothing to divide by."""

    label: str
    rows: int
    """Test rows where it is true."""
    answered: int
    precision: Estimate | None
    recall: Estimate | None
    f1: Estimate | None


class Perturbed(Evidence):
    """The candidate's answer to one perturbed text."""

    id: str
    kind: str
    answer: str


class Stress(Evidence):
    """The candidate on perturbed texts; `change` is that minus the same rows as they were written."""

    kind: str
    rows: int
    estimate: Estimate
    change: Estimate


class Agreement(Evidence):
    """How far a judge and experts agree on pairs of answers."""

    rows: int
    unreadable: int
    swayed: int
    """Rows whose verdict changed with the place of the answers; they count as `same`."""
    same_verdict: float
    kappa: Estimate
    """Cohen's, over the rows with a readable verdict."""


class Judgement(Evidence):
    """What a judge says: the share of texts at least as good as the reference."""

    model: str
    criterion: str
    candidate: Estimate
    champion: Estimate | None
    swayed: int
    """The candidate's rows whose verdict changed with the place; they count half."""
    unscored: int
    """The candidate's rows without a readable verdict; they are left out."""
    usd: float
    agreement: Agreement | None
    """None where no experts' verdicts are named."""


class Missed(Evidence):
    """A corrected text that is answered otherwise than its expert did."""

    line: int
    text: str
    truth: str
    answer: str
    who: str


class Mended(Evidence):
    """The experts' corrections, asked again; the last line about a text counts."""

    rows: int
    right: int
    trained: int
    """Rows whose text stands in the train split, too."""
    champion_right: int | None
    """None without a champion."""
    lost: int
    """Rows that the champion has right and the candidate has not."""
    missed: list[Missed]
    """Up to 20 of them, those that were lost first."""


class SliceScore(Evidence):
    """The candidate on one part of the test rows."""

    name: str
    rows: int
    estimate: Estimate | None
    """The recipe's metric; None for no rows or one group: no evidence."""
    wins: int
    """Rows that only the candidate has right, against the champion (without one: full precision)."""
    losses: int
    p_value: float
    """McNemar's mid-P, adjusted by Holm over all slices."""


class Sensitivity(Evidence):
    """The month's saving (US dollars) when one assumption is a quarter less, or more."""

    assumption: str
    less: float
    more: float


class Tco(Evidence):
    """A month with the specialist against one with the generalist, mistakes left out."""

    fixed_usd_per_month: float
    usd_per_1k: float
    usd_per_month: float
    saving_usd_per_month: float
    break_even_volume: int | None
    """Decisions a month from which on it pays; None where no volume is enough."""
    assumptions: dict[str, float]
    sensitivity: list[Sensitivity]


class OldTest(Evidence):
    """The test set of an earlier version, asked of it and of all that came after."""

    first: int
    """The first version that was judged by it."""
    rows: int
    left_out: int
    """Rows left out because some version was trained on their text."""
    accuracy: dict[str, Estimate]
    """By version, oldest first, and `candidate`; empty where too few rows are left."""


class Forgetting(Record):
    """What versions know of earlier test sets. `forgetting.json` holds the same."""

    kind: ClassVar[str] = "forgetting"
    tests: list[OldTest]
    gone: list[int]
    """Champions whose weights or rows the store does not hold any more."""
    average: Estimate | None
    """Average forgetting of the candidate, in accuracy; None where no row can tell."""


class Scorecard(Record):
    """Every contestant on the same test rows. `scorecard.json` holds the same, so the digest covers it."""

    kind: ClassVar[str] = "scorecard"
    recipe: str
    task: Task
    metric: Metric
    candidate: str
    """The contestant that may ship."""
    splits_digest: str
    labels: list[str]
    rows: int
    groups: int
    contestants: list[Contestant]
    differences: list[Difference]
    hops: list[Difference] = []
    """What each step from the base to a format did to the metric, paired on the same rows."""
    by_label: list[LabelScore]
    """The candidate's, in the labels' order."""
    confusion: dict[str, dict[str, int]]
    """The candidate's answers: truth, then answer, then rows; classification only."""
    confidence: Confidence | None = None
    """The candidate's."""
    slices: list[SliceScore] = []
    """The candidate's."""
    robustness: list[Stress] = []
    """The candidate's."""
    judgement: Judgement | None = None
    """Where the recipe names a judge."""
    mended: Mended | None = None
    """The candidate's, where the recipe names corrections."""
    tco: Tco | None = None
    """The candidate's, where a generalist's price is stated or measured."""
    forgetting: Forgetting | None = Field(None, exclude_if=lambda value: value is None)
    """The candidate's, where the recipe asks for it."""
    stock: list[StockScore] = Field([], exclude_if=lambda value: not value)
    """The candidate's and the base's, where the recipe names tasks of lm-eval."""
    generalist: Generalist | None = Field(None, exclude_if=lambda value: value is None)
    """Where the recipe names its endpoint."""
    kpis: Kpis

    def contestant(self, name: str) -> Contestant | None:
        """The contestant called `name`, or None if it did not take part."""
        return next((c for c in self.contestants if c.name == name), None)

    def difference(self, contestant: str, against: str) -> Difference | None:
        """The paired difference of two contestants, or None if it was not measured."""
        return next((d for d in self.differences if (d.contestant, d.against) == (contestant, against)), None)


class Reason(Evidence):
    """One gate's outcome as a sentence that an expert can read."""

    passed: bool
    sentence: str


class Verdict(Evidence):
    """What the gates said; the registry decides, the report shows."""

    promoted: bool
    headline: str
    reasons: list[Reason]


class Report(Record):
    """`report.html`, `report.json` and `summary.md`."""

    kind: ClassVar[str] = "report"
    scorecard_digest: str
    decision_digest: str
    title: str
    promoted: bool
