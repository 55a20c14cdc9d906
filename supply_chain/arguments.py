"""What the trainer of transformers is told: one place for its many settings."""

from importlib.util import find_spec
from pathlib import Path
from typing import Any

from transformers import TrainingArguments

from supply_chain.recipe.train import Loop
from supply_chain.records import Compute
from supply_chain.settings import Settings
from supply_chain.sharding import sharding_arguments
from supply_chain.together import alone, processes


def arguments(
    spec: Loop, compute: Compute, settings: Settings, work: Path, rows_at_once: int, kind: Any = TrainingArguments
) -> TrainingArguments:
    """`rows_at_once` are those of one process; the rest of a batch is accumulated. `kind` is the trainer's own class
    of arguments, or a function that makes one."""
    together: dict[str, Any] = {}
    if not alone():
        together = {"ddp_find_unused_parameters": False, "ddp_backend": "gloo" if compute.device == "cpu" else "nccl"}
        together |= sharding_arguments() if settings.sharded else {}
    made: TrainingArguments = kind(
        output_dir=str(work),
        use_cpu=compute.device == "cpu",
        bf16=compute.dtype == "bfloat16",
        per_device_train_batch_size=rows_at_once,
        gradient_accumulation_steps=spec.batch_size // (rows_at_once * processes()),
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
        seed=settings.seed,
        data_seed=settings.seed,
        dataloader_pin_memory=compute.device != "cpu",
        disable_tqdm=False,
        use_liger_kernel=compute.device == "cuda" and find_spec("liger_kernel") is not None,
        **together,
    )
    return made
