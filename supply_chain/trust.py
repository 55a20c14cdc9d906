"""What is measured of an artifact's stored bytes on validation rows: calibration, the promise of a risk, decoding.

Neither training nor test rows take part. Where a promise is asked for, half of the groups calibrate and
the other half choose the threshold: a promise made on rows that the confidences were fitted to would not hold.
"""

from collections.abc import Sequence
from typing import Any

from supply_chain.calibration import Calibration, fit_calibration
from supply_chain.data.examples import read_split
from supply_chain.decoding import choose_decoding
from supply_chain.encode import answer_room
from supply_chain.escalation import Escalation, Stakes, choose_threshold
from supply_chain.generation import write
from supply_chain.inference import Loaded
from supply_chain.job import Job
from supply_chain.pricing import passed_on_usd, pricing
from supply_chain.prompt import Renderer
from supply_chain.records import Example
from supply_chain.scoring import label_likelihoods
from supply_chain.serving import Serving


def serving_of(job: Job, loaded: Loaded) -> Serving:
    """How the artifact is asked and how its answers are read."""
    recipe, renderer = job.recipe, Renderer.of(job.recipe.prompt, job.labels, loaded.tokenizer, job.recipe.task)
    told = Serving(prompt=recipe.prompt, labels=job.labels, prompt_sha256=job.prompt_sha256, task=recipe.task)
    rows = read_split(job.splits.verify(), "validation")
    fitting, choosing = halves(rows) if recipe.evaluate.escalation else (rows, [])
    found: dict[str, Any]
    if recipe.task == "classification":
        found = _ranked(job, renderer, loaded, fitting, choosing)
    else:
        room = answer_room(read_split(job.splits, "train"), renderer, loaded.tokenizer)
        room, chosen = choose_decoding(job, loaded, renderer, fitting, room)
        promise = _written(job, renderer, loaded, choosing, room)
        found = {"max_new_tokens": room, "escalation": promise, "decoding": chosen}
    return told.model_copy(update=found)


def halves(rows: Sequence[Example]) -> tuple[list[Example], list[Example]]:
    """The rows of every other group, and the rest."""
    side = {group: i % 2 for i, group in enumerate(sorted({row.group for row in rows}))}
    return [row for row in rows if not side[row.group]], [row for row in rows if side[row.group]]


def _ranked(
    job: Job, renderer: Renderer, loaded: Loaded, fitting: Sequence[Example], choosing: Sequence[Example]
) -> dict[str, Calibration | Escalation | None]:
    likelihoods = label_likelihoods(loaded, renderer, [row.text for row in [*fitting, *choosing]])
    calibration = fit_calibration(likelihoods[: len(fitting)], [job.labels.index(row.label) for row in fitting])
    shares = calibration.probabilities(likelihoods[len(fitting) :]) if choosing else []
    answers = [job.labels[s.index(max(s))] for s in shares]
    return {"calibration": calibration, "escalation": _promise(job, choosing, answers, [max(s) for s in shares])}


def _written(job: Job, renderer: Renderer, loaded: Loaded, choosing: Sequence[Example], room: int) -> Escalation | None:
    contexts = [renderer.context(row.text) for row in choosing]
    written = write(loaded, contexts, room, renderer.complete) if contexts else []
    answers = [renderer.read(w.text) for w in written]
    return _promise(job, choosing, answers, [w.confidence(a_token=False) for w in written])


def _promise(
    job: Job, rows: Sequence[Example], answers: Sequence[str], confidences: Sequence[float]
) -> Escalation | None:
    spec = job.recipe.evaluate
    if spec.escalation is None:
        return None
    price, passed_on = pricing(job.recipe.task, spec.kpis, job.labels), passed_on_usd(spec.kpis)
    kept_usd = [price(row.label, answer) for row, answer in zip(rows, answers, strict=True)]
    stakes = None if passed_on is None else Stakes(kept_usd, passed_on, spec.escalation.choose)
    right = [row.label == answer for row, answer in zip(rows, answers, strict=True)]
    return choose_threshold(confidences, right, spec.escalation.max_risk, spec.escalation.confidence, stakes)
