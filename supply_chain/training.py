"""Training by any method: resumable, seeded, loss only on labels, progress to the tracker."""

import gc
import json
import logging
from collections.abc import Callable
from dataclasses import replace
from math import gcd
from pathlib import Path

import torch
from pydantic import BaseModel
from transformers import AutoTokenizer, ProgressCallback, TrainerState, set_seed

from supply_chain.checkpoints import MarkWhole, last_checkpoint, seconds_before
from supply_chain.compute import scoring_compute, training_compute
from supply_chain.data.examples import read_split
from supply_chain.encode import answer_room, training_rows
from supply_chain.inference import Loaded
from supply_chain.job import Job
from supply_chain.keys import adapter_key
from supply_chain.lesson import lesson_of
from supply_chain.on_policy import context_rows
from supply_chain.plan import Plan
from supply_chain.preference import pair_rows
from supply_chain.processes import train_together
from supply_chain.prompt import Renderer
from supply_chain.records import Compute, LossPoint, Trained
from supply_chain.room import MemoryRanOut, check_disk, explained_shortage, micro_batch, take_fewer
from supply_chain.saving import copy_files, save_learned
from supply_chain.scoring import label_likelihoods
from supply_chain.sharding import check_sharding, whole_weights
from supply_chain.stopping import KeepBest, measured_rows, metric_of
from supply_chain.store import Stored, write_atomically
from supply_chain.together import alone, leader_first, leads
from supply_chain.tracking import Tracker
from supply_chain.trainable import Trainable, has_new_head
from supply_chain.trunk import states_of
from supply_chain.watching import Bar, Watch

log = logging.getLogger(__name__)


def train(job: Job, tracker: Callable[[str], Tracker]) -> Stored[Trained]:
    """Trains the base on the train split; an interrupted run goes on from its last checkpoint.

    With the same compute the resumed weights equal an uninterrupted run's bit for bit. `tracker` gets
    the result's key and opens its run. Raises InvalidInput for an example that is too long or layers
    that the model has not, Unavailable for a disk without room, CannotTrain when the loss is no
    number or one row does not fit into memory.
    """
    key = adapter_key(job)
    work = job.store.workdir(key)

    def make(folder: Path) -> Trained:
        check_sharding(job.recipe.train, job.settings)
        run = train_together if job.settings.processes > 1 else train_here
        return run(job, work, folder, tracker(key))

    stored = job.store.once(Trained, key, make)
    job.store.clear_work(key)
    return stored


def train_here(job: Job, work: Path, folder: Path, tracker: Tracker) -> Trained:
    """Trains in this process, by itself or as one of several; see `processes.py`."""
    spec, base = job.recipe.train, job.base.verify()
    job.splits.verify()
    tokenizer = AutoTokenizer.from_pretrained(base.path, local_files_only=True)
    renderer = Renderer.of(job.recipe.prompt, job.labels, tokenizer, job.recipe.task)
    head = has_new_head(spec)
    with leader_first():
        lesson = lesson_of(job, work)
    rows = (
        pair_rows(lesson.pairs, renderer, tokenizer, spec.max_tokens)
        if lesson.pairs
        else training_rows(lesson.examples, renderer, tokenizer, spec.max_tokens, head)
    )
    start = scoring_compute(job.settings)
    plan = Plan(job, spec, tokenizer, renderer, rows, start, work, tracker, lesson.loss, lesson.kept)
    plan = replace(plan, paid_usd=lesson.paid_usd)
    if plan.on_policy is not None:
        room = answer_room(lesson.examples, renderer, tokenizer)
        plan = replace(plan, rows=context_rows(rows), answer_tokens=room)
    tracker.params({"recipe": job.recipe.name, "base": job.recipe.base, "seed": job.settings.seed, **_flat(spec)})
    share = spec.batch_size // job.settings.processes
    rows_at_once = gcd(share, micro_batch(work, share))
    while True:
        try:
            with explained_shortage(work):
                with leader_first():
                    compute = _settled_compute(plan, rows_at_once)
                tracker.params(_flat(compute))
                return _attempt(replace(plan, compute=compute), rows_at_once, folder)
        except MemoryRanOut as shortage:
            rows_at_once = take_fewer(work, share, rows_at_once)
            if not alone():
                raise  # all processes start again
            log.warning("out of memory (%s): going on with %d rows at once", shortage, rows_at_once)
        gc.collect()


def _attempt(plan: Plan, rows_at_once: int, folder: Path) -> Trained:
    job, work, compute = plan.job, plan.work, plan.compute
    torch.set_num_threads(compute.threads)
    with leader_first():
        checkpoint = last_checkpoint(work)
    marks = MarkWhole(seconds_before(checkpoint))
    trainable = plan.opened()
    adapter = hasattr(trainable.model, "peft_config")
    tokens = sum(plan.rows["length"]) if trainable.below is not None else 0
    check_disk(trainable.model, adapter, 4 * tokens * int(trainable.model.config.hidden_size), work)
    with leader_first():
        states = states_of(trainable, plan.rows, compute, work) if trainable.below is not None else None
    best = _keep_best(plan, trainable)
    set_seed(job.settings.seed)
    callbacks = [marks, Watch(plan.tracker), *([best] if best else [])]
    trainer = plan.trainer(trainable, states, args=plan.arguments(rows_at_once), callbacks=callbacks)
    trainer.remove_callback(ProgressCallback)
    trainer.add_callback(Bar())
    trainer.train(resume_from_checkpoint=str(checkpoint) if checkpoint else None)
    gathered = whole_weights(trainer)
    if best and leads():
        copy_files(best.folder, folder)
    elif leads():
        save_learned(trainable.model, job.base.record.name, folder, gathered)
    plan.tracker.finished()
    return _record(plan, trainable, trainer.state, marks.seconds, rows_at_once, best)


def _record(
    plan: Plan, trainable: Trainable, state: TrainerState, seconds: float, rows_at_once: int, best: KeepBest | None
) -> Trained:
    job = plan.job
    return Trained(
        base_name=job.base.record.name,
        base_digest=job.base.digest,
        splits_digest=job.splits.digest,
        prompt_sha256=job.prompt_sha256,
        method=plan.spec.method,
        steps=state.global_step,
        examples=len(plan.rows),
        seconds=seconds,
        compute=plan.compute,
        losses=[LossPoint(step=e["step"], loss=e["loss"]) for e in state.log_history if "loss" in e],
        trained_parameters=sum(p.numel() for p in trainable.model.parameters() if p.requires_grad),
        tracking_run=plan.tracker.run_id,
        form="adapter" if hasattr(trainable.model, "peft_config") else "weights",
        head=str(trainable.model.config.pooling) if trainable.head else None,
        micro_batch=rows_at_once,
        teacher=job.teacher.digest if job.teacher else None,
        teacher_usd=plan.paid_usd,
        champion=job.splits.record.succession.champion if job.splits.record.succession else None,
        layers=plan.kept or [],
        validation=best.points if best else [],
        kept_step=best.best.step if best and best.best else None,
    )


def _keep_best(plan: Plan, trainable: Trainable) -> KeepBest | None:
    stopping, job = plan.spec.stopping, plan.job
    if stopping is None:
        return None
    rows = measured_rows(read_split(job.splits, "validation"), stopping, job.settings.seed)
    texts, truth = [row.text for row in rows], [job.labels.index(row.label) for row in rows]
    model, name = trainable.model, job.recipe.evaluate.metric
    loaded = Loaded(model.get_base_model() if hasattr(model, "peft_config") else model, plan.tokenizer, 0.0)

    def measure() -> float:
        model.eval()
        with torch.autocast(plan.compute.device, torch.bfloat16, enabled=plan.compute.dtype == "bfloat16"):
            likelihoods = label_likelihoods(loaded, plan.renderer, texts)
        answers = [max(range(len(row)), key=row.__getitem__) for row in likelihoods]
        return metric_of(name, job.labels, truth, answers)

    def save(folder: Path) -> None:
        save_learned(model, job.base.record.name, folder)

    def note(value: float, step: int) -> None:
        plan.tracker.metrics({f"validation_{name}": value}, step)

    return KeepBest(stopping, measure, save, plan.work, note)


def _settled_compute(plan: Plan, rows_at_once: int) -> Compute:
    """Chosen once for a run and kept beside its checkpoints: a resumed run must compute alike."""
    path = plan.work / "compute.json"

    def step(compute: Compute) -> Callable[[], object]:
        gc.collect()
        return replace(plan, compute=compute).trial(rows_at_once)

    if not path.exists():
        write_atomically(path, training_compute(plan.job.settings, step).model_dump_json())
    return Compute.model_validate(json.loads(path.read_text()))


def _flat(part: BaseModel) -> dict[str, object]:
    return part.model_dump(mode="json", exclude_none=True)
