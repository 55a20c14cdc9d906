"""Training by any method: resumable, seeded, loss only on labels, progress to the tracker."""

import gc
import json
import logging
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import torch
from pydantic import BaseModel
from transformers import AutoTokenizer, ProgressCallback, TrainerState, TrainingArguments, set_seed

from supply_chain.batches import IGNORED
from supply_chain.checkpoints import MarkWhole, last_checkpoint, seconds_before
from supply_chain.compute import scoring_compute, training_compute
from supply_chain.data.split import read_split
from supply_chain.encode import training_rows
from supply_chain.inference import Loaded
from supply_chain.job import Job
from supply_chain.keys import adapter_key
from supply_chain.lesson import lesson_of
from supply_chain.plan import Plan
from supply_chain.preference import pair_rows
from supply_chain.prompt import Renderer
from supply_chain.records import Compute, LossPoint, Trained
from supply_chain.room import MemoryRanOut, check_disk, explained_shortage, micro_batch, take_fewer
from supply_chain.saving import copy_files, save_learned
from supply_chain.scoring import label_likelihoods
from supply_chain.settings import Settings
from supply_chain.stopping import KeepBest, measured_rows, metric_of
from supply_chain.store import Stored, write_atomically
from supply_chain.tracking import Tracker
from supply_chain.trainable import Spec, Trainable, has_new_head
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
    stored = job.store.once(Trained, key, lambda folder: _train(job, work, folder, tracker(key)))
    job.store.clear_work(key)
    return stored


def _train(job: Job, work: Path, folder: Path, tracker: Tracker) -> Trained:
    spec, base = job.recipe.train, job.base.verify()
    job.splits.verify()
    tokenizer = AutoTokenizer.from_pretrained(base.path, local_files_only=True)
    renderer = Renderer.of(job.recipe.prompt, job.labels, tokenizer, job.recipe.task)
    head = has_new_head(spec)
    lesson = lesson_of(job, work)
    rows = (
        pair_rows(lesson.pairs, renderer, tokenizer, spec.max_tokens)
        if lesson.pairs
        else training_rows(lesson.examples, renderer, tokenizer, spec.max_tokens, head)
    )
    start = scoring_compute(job.settings)
    plan = Plan(job, spec, tokenizer, renderer, rows, start, work, tracker, lesson.loss, lesson.kept)
    plan = replace(plan, paid_usd=lesson.paid_usd)
    compute = _settled_compute(work, job.settings, lambda c: _trial_step(plan, c))
    plan = replace(plan, compute=compute)
    tracker.params({"recipe": job.recipe.name, "base": job.recipe.base, "seed": job.settings.seed, **_flat(spec)})
    tracker.params(_flat(compute))
    rows_at_once = micro_batch(work, spec.batch_size)
    while True:
        try:
            with explained_shortage(work):
                return _attempt(plan, rows_at_once, folder)
        except MemoryRanOut as shortage:
            rows_at_once = take_fewer(work, spec.batch_size, rows_at_once)
            log.warning("out of memory (%s): going on with %d rows at once", shortage, rows_at_once)
        gc.collect()


def _attempt(plan: Plan, rows_at_once: int, folder: Path) -> Trained:
    job, spec, work, compute = plan.job, plan.spec, plan.work, plan.compute
    torch.set_num_threads(compute.threads)
    checkpoint = last_checkpoint(work)
    marks = MarkWhole(seconds_before(checkpoint))
    trainable = plan.opened()
    adapter = hasattr(trainable.model, "peft_config")
    tokens = sum(plan.rows["length"]) if trainable.below is not None else 0
    check_disk(trainable.model, adapter, 4 * tokens * int(trainable.model.config.hidden_size), work)
    states = states_of(trainable, plan.rows, compute, work) if trainable.below is not None else None
    best = _keep_best(plan, trainable)
    set_seed(job.settings.seed)
    trainer = plan.trainer(
        trainable,
        args=_arguments(spec, compute, job.settings.seed, work, rows_at_once),
        processing_class=plan.tokenizer,
        data_collator=plan.batches(states),
        callbacks=[marks, Watch(plan.tracker), *([best] if best else [])],
    )
    trainer.remove_callback(ProgressCallback)
    trainer.add_callback(Bar())
    trainer.train(resume_from_checkpoint=str(checkpoint) if checkpoint else None)
    if best:
        copy_files(best.folder, folder)
    else:
        save_learned(trainable.model, job.base.record.name, folder)
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


def _arguments(spec: Spec, compute: Compute, seed: int, work: Path, rows_at_once: int) -> TrainingArguments:
    return TrainingArguments(
        output_dir=str(work),
        use_cpu=compute.device == "cpu",
        bf16=compute.dtype == "bfloat16",
        per_device_train_batch_size=rows_at_once,
        gradient_accumulation_steps=spec.batch_size // rows_at_once,
        num_train_epochs=spec.epochs,
        max_steps=spec.max_steps or -1,
        learning_rate=spec.learning_rate,
        lr_scheduler_type=spec.scheduler,
        warmup_steps=spec.warmup,
        weight_decay=spec.weight_decay,
        train_sampling_strategy="group_by_length",
        length_column_name="length",
        remove_unused_columns=False,
        save_strategy="steps",
        save_steps=spec.checkpoint_steps,
        save_total_limit=2,
        logging_steps=1,
        logging_nan_inf_filter=False,
        report_to="none",
        seed=seed,
        data_seed=seed,
        dataloader_pin_memory=compute.device != "cpu",
        disable_tqdm=False,
    )


def _settled_compute(work: Path, settings: Settings, step: Callable[[Compute], Callable[[], object]]) -> Compute:
    """Chosen once for a run and kept beside its checkpoints: a resumed run must compute alike."""
    path = work / "compute.json"
    if not path.exists():
        write_atomically(path, training_compute(settings, step).model_dump_json())
    return Compute.model_validate(json.loads(path.read_text()))


def _trial_step(plan: Plan, compute: Compute) -> Callable[[], object]:
    gc.collect()
    trainable = plan.opened(compute)
    trainer = plan.trainer(trainable, True, args=_arguments(plan.spec, compute, 0, plan.work, plan.spec.batch_size))
    middle = plan.rows[sorted(range(len(plan.rows)), key=lambda i: plan.rows[i]["length"])[len(plan.rows) // 2]]
    batch = plan.batches()([middle] * plan.spec.batch_size)
    if trainable.below is not None:
        shape = (*batch.pop("input_ids").shape, int(trainable.model.config.hidden_size))
        batch["inputs_embeds"] = torch.zeros(shape)

    def step() -> None:
        trainer.training_step(trainable.model, dict(batch), num_items_in_batch=batch["labels"].ne(IGNORED).sum())

    return step


def _flat(part: BaseModel) -> dict[str, object]:
    return part.model_dump(mode="json", exclude_none=True)
