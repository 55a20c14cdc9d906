"""Whether the bytes that will serve are the model that was trained, asked before anything is evaluated.

Every hop (base → adapter → merged → artifact) is checked; all faults are told at once, each with its hop.
"""

import random
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from supply_chain.data.examples import read_split
from supply_chain.errors import CorruptData, EvidenceMismatch, InvalidInput
from supply_chain.formats.delta import fine_tune_share, merged_fault
from supply_chain.identity import canonical_json
from supply_chain.inference import load
from supply_chain.job import Job
from supply_chain.keys import parity_key
from supply_chain.loaded import Loaded, has_head
from supply_chain.opening import open_artifact, serving_compute
from supply_chain.prompt import Renderer
from supply_chain.recipe.quantize import Awq, Quantize
from supply_chain.records import Artifact, Example, Finding, Parity, Trained
from supply_chain.scoring import answer_likelihoods
from supply_chain.serving import Serving, read_serving
from supply_chain.store import Store, Stored

FILE = "parity.json"
PROMPTS, ROWS = 200, 48
_HARD = [
    "",
    " ",
    "Price: $1,234.56 (no. 007)",
    "¿Qué? naïve 日本語 🙂",
    "a\n\n  b\tc",
    "<|im_start|>user\nhi<|im_end|>",
]


@dataclass(frozen=True)
class Line:
    """One artifact and what it was made from."""

    job: Job
    trained: Stored[Trained]
    merged: Stored[Artifact]
    artifact: Stored[Artifact]
    scheme: Quantize

    @property
    def hop(self) -> str:
        """The artifact's own hop."""
        return f"merged → {self.scheme.name}" if self.scheme.alone else "base → adapter"

    @cached_property
    def rows(self) -> list[Example]:
        """Train rows that prompts are made of, drawn by the seed."""
        rows = read_split(self.job.splits.verify(), "train")
        return random.Random(self.job.settings.seed).sample(rows, min(PROMPTS, len(rows)))  # noqa: S311

    @cached_property
    def full(self) -> Loaded:
        """The merged model, with the tokenizer that training used."""
        compute = serving_compute(self.merged.path, self.job.settings)
        loaded = load(self.merged.path, compute)
        from transformers import AutoTokenizer  # noqa: PLC0415 (after torch)

        return Loaded(loaded.model, AutoTokenizer.from_pretrained(self.job.base.path, local_files_only=True), 0.0)

    @cached_property
    def own(self) -> Loaded:
        """The artifact, by its own runtime from its own files."""
        path = self.artifact.path
        return open_artifact(path, serving_compute(path, self.job.settings), self.job.base.path)

    @cached_property
    def serving(self) -> Serving:
        """What the artifact says about how it is asked."""
        return read_serving(self.artifact.path)


def check_parity(line: Line, store: Store) -> Stored[Parity]:
    """The findings about an artifact that is what was trained.

    Raises EvidenceMismatch with every fault and its hop, CorruptData for damaged files.
    """

    def make(folder: Path) -> Parity:
        found = list(findings(line))
        faults = [f"{f.hop}: {f.sentence}" for f in found if not f.passed]
        if faults:
            raise EvidenceMismatch(
                f"{line.scheme.name} is not the model that was trained, so it is neither evaluated nor promoted. "
                + " ".join(f"[{fault}]" for fault in faults)
                + " Make what the hop names again."
            )
        parity = Parity(
            contestant=line.scheme.name,
            artifact_digest=line.artifact.digest,
            merged_digest=line.merged.digest,
            findings=found,
        )
        (folder / FILE).write_text(canonical_json(parity), encoding="utf-8")
        return parity

    _intact(line)
    return store.once(Parity, parity_key(line.job, line.scheme, line.trained, line.merged, line.artifact), make)


def findings(line: Line) -> Iterator[Finding]:
    """Every check of every hop; later ones are left out where an earlier one makes them meaningless."""
    fault = merged_fault(line.job.start.path, line.trained.path, line.merged.path)
    hop = "base → adapter" if fault.startswith("the adapter") else "adapter → merged"
    yield Finding(hop=hop, name="merge", passed=not fault, sentence=fault or "the merged weights hold the adapter")
    source, told = (line.merged, "merged") if line.scheme.alone else (line.trained, "trained")
    same = line.artifact.record.made_from == source.digest
    other = f"it was made from {line.artifact.record.made_from[:12]}, not from the {told} {source.digest[:12]}"
    yield Finding(hop=line.hop, name="source", passed=same, sentence=f"it was made from the {told}" if same else other)
    try:
        _ = line.own, line.serving
    except CorruptData as error:
        yield Finding(hop=line.hop, name="loads", passed=False, sentence=str(error))
        return
    for check in (_template, _stop, _serving, _tokens, _share, _shift):
        yield check(line)


def _intact(line: Line) -> None:
    for hop, stored in (("base → adapter", line.trained), ("adapter → merged", line.merged), (line.hop, line.artifact)):
        try:
            stored.verify()
        except CorruptData as error:
            raise CorruptData(f"{hop}: {error}") from error


def _template(line: Line) -> Finding:
    own, trained = line.own.tokenizer.chat_template or "", line.full.tokenizer.chat_template or ""
    sentence = "its chat template is the training's" if own == trained else _apart("chat template", own, trained)
    return Finding(hop=line.hop, name="chat template", passed=own == trained, sentence=sentence)


def _stop(line: Line) -> Finding:
    """The tokenizer's end token, and those in `config.json` and `generation_config.json`, which servers stop at."""
    from supply_chain.formats.stops import stop_ids  # noqa: PLC0415

    wanted = {"tokenizer": line.full.tokenizer.eos_token_id, **stop_ids(line.job.base.path)}
    found = {"tokenizer": line.own.tokenizer.eos_token_id, **stop_ids(line.artifact.path)}
    other = {name: (value, wanted[name]) for name, value in found.items() if name in wanted and value != wanted[name]}
    told = "; ".join(f"{name} stops at token {value}, training at {right}" for name, (value, right) in other.items())
    return Finding(hop=line.hop, name="stop token", passed=not other, sentence=told or "it stops where training does")


def _serving(line: Line) -> Finding:
    said, job = line.serving, line.job
    other = [
        name
        for name, own, trained in (
            ("prompt", said.prompt, job.recipe.prompt),
            ("labels", said.labels, job.labels),
            ("renderer", said.prompt_sha256, job.prompt_sha256),
            ("task", said.task, job.recipe.task),
        )
        if own != trained
    ]
    sentence = f"serving.json has another {', '.join(other)} than training" if other else "it is asked as in training"
    return Finding(hop=line.hop, name="serving", passed=not other, sentence=sentence)


def _tokens(line: Line) -> Finding:
    said, job = line.serving, line.job
    own = Renderer.of(said.prompt, said.labels, line.own.tokenizer, said.task)
    trained = Renderer.of(job.recipe.prompt, job.labels, line.full.tokenizer, job.recipe.task)
    texts = [*_HARD, *(row.text for row in line.rows)]
    pairs: list[tuple[str, Callable[[Renderer], str]]] = [(t, lambda r, t=t: r.context(t)) for t in texts]  # type: ignore[misc]
    if job.recipe.task == "classification":
        pairs += [(label, lambda r, i=i: r.answers[i]) for i, label in enumerate(job.labels)]  # type: ignore[misc]
    other = []
    for text, render in pairs:
        try:
            same = _ids(line.own, render(own)) == _ids(line.full, render(trained))
        except (InvalidInput, IndexError):
            same = False
        other += [] if same else [text]
    shown = f", such as {other[0][:60]!r}" if other else ""
    sentence = f"{len(other)} of {len(pairs)} prompts and labels become other tokens than in training{shown}"
    return Finding(
        hop=line.hop, name="token ids", passed=not other, sentence=sentence, measured=float(len(other)), bound=0.0
    )


def _share(line: Line) -> Finding:
    weighed = isinstance(line.scheme, Awq)
    found = fine_tune_share(line.job.start.path, line.merged.path, line.artifact.path, line.own, weighed)
    if found is None:
        return Finding(
            hop=line.hop, name="fine-tune", passed=True, sentence="no weights to compare with the base's were found"
        )
    bound = max(0.25, 4 * found.deviation)
    off = abs(1 - found.share)
    sentence = (
        f"{found.share:.2f} of the fine-tune is in its weights (1 is right, ± {found.deviation:.2f} by rounding); "
        f"a deviation of up to {bound:.2f} is allowed"
    )
    return Finding(hop=line.hop, name="fine-tune", passed=off <= bound, sentence=sentence, measured=off, bound=bound)


def _shift(line: Line) -> Finding:
    """Likelihoods as the artifact gives them to its own prompts and labels, against the merged model's."""
    said, job, rows = line.serving, line.job, line.rows[:ROWS]
    own = Renderer.of(said.prompt, said.labels, line.own.tokenizer, said.task)
    trained = Renderer.of(job.recipe.prompt, job.labels, line.full.tokenizer, job.recipe.task)
    try:
        there, here = answer_likelihoods(line.own, own, rows), answer_likelihoods(line.full, trained, rows)
    except InvalidInput as error:
        return Finding(hop=line.hop, name="log-probabilities", passed=False, sentence=str(error))
    gaps = [
        abs(a - b) / tokens
        for row, one, other in zip(rows, there, here, strict=True)
        for a, b, tokens in zip(one, other, _lengths(line, trained, row), strict=True)
    ]
    mean, bound = sum(gaps) / len(gaps), line.scheme.shift_bound
    sentence = (
        f"log-probabilities of {len(gaps)} answers differ from full precision by {mean:.3f} nats a token on average; "
        f"up to {bound:g} is allowed"
    )
    passed = mean <= bound  # not the other way round: NaN must fail
    return Finding(hop=line.hop, name="log-probabilities", passed=passed, sentence=sentence, measured=mean, bound=bound)


def _lengths(line: Line, renderer: Renderer, row: Example) -> list[int]:
    """Tokens of what `answer_likelihoods` scores; a head gives each label at once."""
    if has_head(line.full.model):
        return [1] * len(renderer.labels)
    answers = renderer.answers if renderer.task == "classification" else [renderer.answer(row.label)]
    return [len(_ids(line.full, answer)) for answer in answers]


def _ids(loaded: Loaded, text: str) -> list[int]:
    return list(loaded.tokenizer(text, add_special_tokens=False)["input_ids"])


def _apart(what: str, own: Any, trained: Any) -> str:
    return f"its {what} is {str(own)[:60]!r}, training's {str(trained)[:60]!r}"
