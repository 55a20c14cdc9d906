"""LoRA fine-tuning: resumable, seeded, completion-only loss, progress to the tracker."""

import gc
import json
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from datasets import Dataset
from peft import LoraConfig, get_peft_model
from pydantic import BaseModel
from transformers import AutoTokenizer, ProgressCallback, TrainerCallback, set_seed
from trl import SFTConfig

from supply_chain.checkpoints import MarkWhole, last_checkpoint, seconds_before
from supply_chain.compute import training_compute
from supply_chain.data.split import read_split
from supply_chain.encode import training_rows
from supply_chain.errors import SupplyChainError
from supply_chain.inference import open_weights
from supply_chain.job import Job
from supply_chain.keys import adapter_key
from supply_chain.label_loss import LabelLossTrainer
from supply_chain.prompt import Renderer
from supply_chain.recipe.schema import LoraTrain
from supply_chain.records import Compute, LossPoint, Trained
from supply_chain.settings import Settings
from supply_chain.store import Stored, write_atomically
from supply_chain.tracking import Tracker


def train(job: Job, tracker: Callable[[str], Tracker]) -> Stored[Trained]:
    """Fine-tunes the base on the train split; an interrupted run goes on from its last checkpoint.

    With the same compute the resumed adapter equals an uninterrupted one bit for bit. `tracker` gets
    the adapter's key and opens its run. Raises InvalidInput for an example that is too long,
    SupplyChainError when the loss is not a number.
    """
    key = adapter_key(job)
    work = job.store.workdir(key)
    stored = job.store.once(Trained, key, lambda folder: _train(job, work, folder, tracker(key)))
    job.store.clear_work(key)
    return stored


def _train(job: Job, work: Path, folder: Path, tracker: Tracker) -> Trained:
    spec, base, splits = job.recipe.train, job.base.verify(), job.splits.verify()
    tokenizer = AutoTokenizer.from_pretrained(base.path, local_files_only=True)
    renderer = Renderer.of(job.recipe.prompt, job.labels, tokenizer, job.recipe.task)
    rows = training_rows(read_split(splits, "train"), renderer, tokenizer, spec.max_tokens)
    compute = _settled_compute(work, job.settings, lambda c: _trial_step(base.path, spec, rows, c))
    tracker.params({"recipe": job.recipe.name, "base": job.recipe.base, "seed": job.settings.seed, **_flat(spec)})
    tracker.params(_flat(compute))

    checkpoint = last_checkpoint(work)
    marks = MarkWhole(seconds_before(checkpoint))
    torch.set_num_threads(compute.threads)
    set_seed(job.settings.seed)
    trainer = LabelLossTrainer(
        model=_adapted(base.path, spec, compute),
        args=_arguments(spec, compute, job.settings.seed, work),
        train_dataset=rows,
        processing_class=tokenizer,
        callbacks=[marks, _Watch(tracker)],
    )
    trainer.remove_callback(ProgressCallback)
    trainer.add_callback(_Bar())
    trainer.train(resume_from_checkpoint=str(checkpoint) if checkpoint else None)
    _save_adapter(trainer.model, base.record.name, folder)
    tracker.finished()
    return Trained(
        base_name=base.record.name,
        base_digest=base.digest,
        splits_digest=splits.digest,
        prompt_sha256=job.prompt_sha256,
        method=spec.method,
        steps=trainer.state.global_step,
        examples=len(rows),
        seconds=marks.seconds,
        compute=compute,
        losses=[LossPoint(step=e["step"], loss=e["loss"]) for e in trainer.state.log_history if "loss" in e],
        trained_parameters=sum(p.numel() for p in trainer.model.parameters() if p.requires_grad),
        tracking_run=tracker.run_id,
    )


def _arguments(spec: LoraTrain, compute: Compute, seed: int, work: Path) -> SFTConfig:
    return SFTConfig(
        output_dir=str(work),
        use_cpu=compute.device == "cpu",
        bf16=compute.dtype == "bfloat16",
        activation_checkpointing=False,
        per_device_train_batch_size=spec.batch_size,
        num_train_epochs=spec.epochs,
        max_steps=spec.max_steps or -1,
        learning_rate=spec.learning_rate,
        lr_scheduler_type=spec.scheduler,
        warmup_steps=spec.warmup,
        weight_decay=spec.weight_decay,
        max_length=None,
        train_sampling_strategy="group_by_length",
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


def _adapted(path: Path, spec: LoraTrain, compute: Compute) -> Any:
    lora = LoraConfig(
        r=spec.rank,
        lora_alpha=spec.alpha,
        lora_dropout=spec.dropout,
        target_modules=spec.targets,
        task_type="CAUSAL_LM",
    )
    return get_peft_model(open_weights(path, compute), lora)


def _settled_compute(work: Path, settings: Settings, step: Callable[[Compute], Callable[[], object]]) -> Compute:
    """Chosen once for a run and kept beside its checkpoints: a resumed run must compute alike."""
    path = work / "compute.json"
    if not path.exists():
        write_atomically(path, training_compute(settings, step).model_dump_json())
    return Compute.model_validate(json.loads(path.read_text()))


def _trial_step(path: Path, spec: LoraTrain, rows: Dataset, compute: Compute) -> Callable[[], object]:
    gc.collect()
    model = _adapted(path, spec, compute)
    middle = sorted(rows["input_ids"], key=len)[len(rows) // 2]
    batch = torch.tensor([middle] * spec.batch_size, device=compute.device)

    def step() -> None:
        with torch.autocast(compute.device, torch.bfloat16, enabled=compute.dtype == "bfloat16"):
            loss = model(input_ids=batch, labels=batch).loss
        loss.backward()

    return step


def _save_adapter(model: Any, base_name: str, folder: Path) -> None:
    for config in model.peft_config.values():
        config.base_model_name_or_path = base_name  # a local path would change the digest
        config.target_modules = sorted(config.target_modules)  # so would the order of a set
    model.save_pretrained(folder, safe_serialization=True, save_embedding_layers=False)
    (folder / "README.md").unlink(missing_ok=True)


def _flat(part: BaseModel) -> dict[str, object]:
    return part.model_dump(mode="json", exclude_none=True)


class _Bar(ProgressCallback):
    """The trainer's bar with its time left; the loss stands beside it instead of on a line for each step."""

    def on_log(self, args: Any, state: Any, control: Any, logs: dict[str, float] | None = None, **kwargs: Any) -> None:
        """Called by the trainer at every step."""
        if self.training_bar is not None and logs and "loss" in logs:
            self.training_bar.set_postfix(loss=f"{logs['loss']:.3f}")


class _Watch(TrainerCallback):
    """Sends losses to the tracker and stops at the first that is not a number."""

    def __init__(self, tracker: Tracker):
        self.tracker = tracker

    def on_log(self, args: Any, state: Any, control: Any, logs: dict[str, float] | None = None, **kwargs: Any) -> None:
        """Called by the trainer at every step."""
        if not logs or "loss" not in logs:
            return
        if not math.isfinite(logs["loss"]):
            raise SupplyChainError(
                f"training diverged: the loss is {logs['loss']} at step {state.global_step}. Lower "
                f"train.learning_rate (now {args.learning_rate:g}) or raise train.warmup."
            )
        wanted = {"loss", "grad_norm", "learning_rate"}
        self.tracker.metrics({k: float(v) for k, v in logs.items() if k in wanted}, state.global_step)
