"""The records that stages hand on. Each is stored beside its files; see `store.py`."""

from typing import ClassVar, Literal

from pydantic import BaseModel, ConfigDict, Field

from supply_chain.escalation import Escalation
from supply_chain.recipe.data import Sensitivity
from supply_chain.store import Record


class Example(BaseModel):
    """One labelled text and the source line it came from.

    `label` is a class name; for other tasks the target as text: canonical JSON of a list of labels
    (multilabel) or of an object of fields (extraction), or the completion (generation).
    """

    model_config = ConfigDict(frozen=True)
    id: str
    text: str
    label: str
    group: str
    file: str
    line: int
    time: str = ""
    """ISO date or number, when the split goes by time."""
    cluster: int = 0
    """Near duplicates share a number; 0: none."""
    flags: str = ""
    """What a reviewer should look at: `label:neutral` (suggested label), `pii:EMAIL`."""
    meta: str = ""
    """Canonical JSON of the columns in `data.metadata`, where there are any."""


class Reject(BaseModel):
    """One row that was not kept, and why."""

    model_config = ConfigDict(frozen=True)
    reason: str
    detail: str
    text: str
    file: str
    line: int


class Curated(Record):
    """`examples.parquet` and `rejects.parquet`: every row read is in one of them."""

    kind: ClassVar[str] = "curated"
    source: str
    source_sha256: str
    license: str
    attribution: str
    rows_read: int
    rows_kept: int
    rejects: dict[str, int]
    """Rows rejected, by reason."""
    labels: list[str]
    """Class names; extraction: field names; generation: none."""
    task: str = "classification"
    sensitivity: str = "internal"
    zone: str = "any"
    fingerprint: str = ""
    """SHA-256 over the kept rows, in order, and the rules that chose them."""
    clusters: int = 0
    """Near-duplicate clusters among the kept rows."""
    flagged: dict[str, int] = {}
    """Kept rows by flag."""
    pii: dict[str, int] = {}
    """Values found, by type."""


class Succession(BaseModel):
    """What a train split took over from the champion that training goes on from, and from experts."""

    model_config = ConfigDict(frozen=True, extra="forbid")
    of: str
    """Digest of the splits of the new data alone."""
    champion: str | None = None
    """Digest of the champion's released weights; None where training starts from the base."""
    trained: str | None = None
    """Digest of what the champion's training made."""
    corrections: str | None = None
    """Digest of the stored corrections."""
    replayed: int = 0
    """Train rows drawn from earlier data."""
    corrected: int = 0
    """Train rows that experts corrected."""
    held_out: int = 0
    """Corrections left out because their text, or one much like it, is held out for validation or test."""


class Splits(Record):
    """`train.parquet`, `validation.parquet`, `test.parquet` and `proof.json`."""

    kind: ClassVar[str] = "splits"
    data_digest: str
    seed: int
    labels: list[str]
    rows: dict[str, dict[str, int]]
    """Rows by split and label."""
    groups: dict[str, int]
    """Groups by split."""
    license: str
    attribution: str
    task: str = "classification"
    sensitivity: str = "internal"
    zone: str = "any"
    succession: Succession | None = None


class DataCard(Record):
    """`data.html` for people and `data.json` for programs: what was kept, rejected, split and suspected."""

    kind: ClassVar[str] = "data_card"
    data_digest: str
    splits_digest: str


class BaseModelRecord(Record):
    """A base model as bf16 safetensors with its tokenizer."""

    kind: ClassVar[str] = "base"
    name: str
    revision: str
    source_sha256: str
    license: str
    parameters: int
    context_tokens: int
    tokenizer_sha256: str
    chat_template_sha256: str


class Compute(BaseModel):
    """How heavy arithmetic is run on this machine."""

    model_config = ConfigDict(frozen=True)
    device: str
    dtype: str
    attention: str
    threads: int


class LossPoint(BaseModel):
    """Training loss (nats a token) at one step."""

    model_config = ConfigDict(frozen=True)
    step: int
    loss: float


class ValidationPoint(BaseModel):
    """The recipe's metric on validation rows after one step."""

    model_config = ConfigDict(frozen=True)
    step: int
    value: float


class Trained(Record):
    """What training made: a LoRA adapter in peft's format, or whole weights (bf16 safetensors)."""

    kind: ClassVar[str] = "adapter"
    base_name: str
    base_digest: str
    splits_digest: str
    prompt_sha256: str
    method: str
    steps: int
    examples: int
    seconds: float
    compute: Compute
    losses: list[LossPoint]
    trained_parameters: int
    tracking_run: str | None
    """The tracking server's run, if one was used."""
    form: Literal["adapter", "weights"] = "adapter"
    head: str | None = None
    """How a linear layer that answers with a label pools states (`last`, `mean`); None: the model's own words do."""
    micro_batch: int = 0
    """Rows taken at once; less than the batch when memory ran out. 0: not recorded."""
    teacher: str | None = None
    """Digest of the weights that taught."""
    teacher_usd: float | None = None
    """What a teacher behind an endpoint was paid for its answers, at the recipe's prices."""
    layers: list[int] = []
    """The teacher's layers that a student cut from it kept."""
    validation: list[ValidationPoint] = []
    kept_step: int | None = None
    """Step whose weights were kept; None: the last."""
    champion: str | None = None
    """Digest of the released weights that training went on from."""


class Origin(BaseModel):
    """Something that weights were made from, and what its owner allows."""

    model_config = ConfigDict(frozen=True, extra="forbid")
    role: Literal["base", "data", "teacher", "champion"]
    name: str
    license: str
    sensitivity: Sensitivity = "public"
    zone: str = "any"


class Artifact(Record):
    """Weights and tokenizer that can be loaded and served alone."""

    kind: ClassVar[str] = "artifact"
    format: str
    """`safetensors-bf16` or a quantization scheme."""
    bits: int
    made_from: str
    """Digest of the adapter or artifact it was made from."""
    base_name: str
    base_digest: str
    license: str
    context_tokens: int
    tokenizer_sha256: str
    chat_template_sha256: str
    prompt_sha256: str
    labels: list[str]
    runtime: str
    """What loads it: `transformers 5.23.0, bitsandbytes 0.50.2`."""
    origins: list[Origin] = []
    """Everything it was made from; its terms are theirs taken together."""
    stop_tokens: list[str] = []
    """What ends an answer."""
    start: str = ""
    """The command that answers texts with it; FOLDER is where its files lie."""
    calibration: list[str] = []
    """Train rows (ids) whose activations chose its codes."""
    rank: int | None = Field(None, exclude_if=lambda value: value is None)
    """Of a LoRA adapter that stands alone."""


class Finding(BaseModel):
    """One check of one hop; `measured` must not exceed `bound` where there are figures."""

    model_config = ConfigDict(frozen=True)
    hop: str
    name: str
    passed: bool
    sentence: str
    measured: float | None = None
    bound: float | None = None


class Parity(Record):
    """What was found between the training and one artifact. `parity.json` holds the same."""

    kind: ClassVar[str] = "parity"
    contestant: str
    artifact_digest: str
    merged_digest: str
    findings: list[Finding]


class Paid(BaseModel):
    """What a generalist behind an endpoint was asked, and its tokens. Prices are the recipe's."""

    model_config = ConfigDict(frozen=True, extra="forbid")
    model: str
    questions: int
    """Different texts; equal ones are asked once."""
    unreadable: int
    """Rows whose reply held no answer of the form asked for."""
    tokens_in: int
    tokens_out: int
    uncounted: int
    """Replies that came without a count of their tokens."""


class Predictions(Record):
    """`predictions.parquet`: one contestant's answer to every test row, and what it cost to get it."""

    kind: ClassVar[str] = "predictions"
    contestant: str
    """`majority`, `tfidf`, `base`, `generalist`, `specialist` or a quantization scheme."""
    model_digest: str
    """Digest of the weights that answered; empty for baselines, which are refitted, and for a generalist."""
    splits_digest: str
    labels: list[str]
    task: str = "classification"
    rows: int
    p50_ms: float
    """Median wall time of a single decision."""
    p95_ms: float
    size_bytes: int
    peak_memory_bytes: int
    load_seconds: float
    decisions_per_second: float
    """Batched throughput."""
    escalation: Escalation | None = None
    """Which answers are passed on, as the artifact promises."""
    paid: Paid | None = Field(None, exclude_if=lambda value: value is None)
    """A generalist's; its times are those of whole requests, and it has no size here."""
