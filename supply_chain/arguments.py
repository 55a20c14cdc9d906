"""What the trainer of transformers is told: one place for its many settings."""

from importlib.util import find_spec
from pathlib import Path
from typing import Any

from transformers import TrainingArguments

from supply_chain.recipe.train import Loop
from supply_chain.records import Compute
from supply_chain.together import alone, processes


def arguments(spec: Loop, compute: Compute, seed: int, work: Path, rows_at_once: int) -> TrainingArguments:
    """`rows_at_once` are those of all processes together; the rest of a batch is accumulated."""
    together: dict[str, Any] = {}
    if not alone():
        together = {"ddp_find_unused_parameters": False, "ddp_backend": "gloo" if compute.device == "cpu" else "nccl"}
    return TrainingArguments(
        output_dir=str(work),
        use_cpu=compute.device == "cpu",
        bf16=compute.dtype == "bfloat16",
        per_device_train_batch_size=rows_at_once // processes(),
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
        use_liger_kernel=compute.device == "cuda" and find_spec("liger_kernel") is not None,
        **together,
    )
