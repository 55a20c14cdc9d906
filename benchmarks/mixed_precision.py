"""Seconds a step when it multiplies in float32 or bfloat16: `python benchmarks/mixed_precision.py`.

An optimizer step on made-up token ids by the chain's own trainer, SmolLM2-135M, one thread; arms take turns, the
best of each counts. Arms:

- `float32`: weights and multiplications in float32.
- `bfloat16`: as a recipe trains where bfloat16 was chosen. Weights that learn stay float32.
- `other`: bfloat16 with autocast turned round: without it for whole weights, with it for adapters.
"""

import gc
import os
import tempfile
import time
from pathlib import Path
from typing import Any

os.environ.update({"HF_HUB_OFFLINE": "1", "TOKENIZERS_PARALLELISM": "false", "OMP_NUM_THREADS": "1"})

import torch
from datasets import Dataset
from measure import report
from pydantic import TypeAdapter

from supply_chain.arguments import arguments
from supply_chain.batches import IGNORED
from supply_chain.catalogue import load_catalogue
from supply_chain.hub import provide_base
from supply_chain.label_loss import LabelLossTrainer, label_smoothed
from supply_chain.recipe.schema import Train
from supply_chain.records import Compute
from supply_chain.settings import load_settings
from supply_chain.store import Store
from supply_chain.trainable import open_trainable

ROUNDS, STEPS, LABELS = 3, 3, 77
CASES: dict[str, tuple[dict[str, Any], int, int]] = {
    "head_full_20_layers": ({"method": "head", "tune": "full", "pooling": "mean", "top_layers": 20}, 32, 16),
    "full": ({"method": "full"}, 16, 32),
    "lora": ({"method": "lora", "rank": 16, "alpha": 32}, 16, 32),
}


class Other(LabelLossTrainer):
    """Casts where the chain's trainer does not, and the other way round."""

    def autocast_smart_context_manager(self, cache_enabled: bool | None = True) -> torch.autocast:
        """The arm `other`."""
        whole = not hasattr(self.trainable.model, "peft_config")
        return torch.autocast(self.args.device.type, torch.bfloat16, enabled=not whole)


def main() -> None:
    """Writes `results/mixed_precision.json`."""
    settings = load_settings()
    entry = load_catalogue(settings).get("smollm2-135m-instruct")
    base = provide_base(entry, settings.downloads, Store.of(settings)).path
    arms = {"float32": (LabelLossTrainer, "float32"), "bfloat16": (LabelLossTrainer, "bfloat16")}
    arms["other"] = (Other, "bfloat16")
    found = {}
    for case, (block, rows, tokens) in CASES.items():
        spec = TypeAdapter(Train).validate_python({**block, "batch_size": rows})
        turns = [
            {arm: step_seconds(*how, base, spec, rows, tokens) for arm, how in arms.items()} for _ in range(ROUNDS)
        ]
        seconds = {arm: min(turn[arm] for turn in turns) for arm in arms}
        found[case] = {"rows": rows, "tokens_a_row": tokens, "seconds_a_step": seconds}
        found[case] |= {"times_float32": round(seconds["float32"] / seconds["bfloat16"], 2)}
        found[case] |= {"times_other": round(seconds["other"] / seconds["bfloat16"], 2)}
    report("mixed_precision", turns=ROUNDS, **found)


def step_seconds(kind: Any, dtype: str, base: Path, spec: Any, rows: int, tokens: int) -> float:
    """The fastest of a few steps after one that is not counted."""
    compute = Compute(device="cpu", dtype=dtype, attention="eager", threads=1)
    torch.set_num_threads(1)
    trainable = open_trainable(base, spec, [str(i) for i in range(LABELS)], compute, 17)
    with tempfile.TemporaryDirectory() as work:
        args = arguments(spec, compute, load_settings(), Path(work), rows)
        data = Dataset.from_dict({"length": [1], "row": [0]})
        trainer = kind(trainable, label_smoothed(0.0), args=args, train_dataset=data, data_collator=list)
        trainer.create_optimizer()
        batch = batch_of(trainable, rows, tokens, getattr(torch, dtype))
        taken = [_step(trainer, batch, rows) for _ in range(STEPS + 1)]
    del trainable, trainer
    gc.collect()
    return round(min(taken[1:]), 3)


def batch_of(trainable: Any, rows: int, tokens: int, dtype: torch.dtype) -> dict[str, torch.Tensor]:
    """Rows of like length; the last two tokens of each, or the row itself, have a label."""
    labels = torch.arange(rows) % LABELS
    if not trainable.head:
        labels = torch.full((rows, tokens - 1), IGNORED)
        labels[:, -2:] = 7
    batch = {"attention_mask": torch.ones(rows, tokens, dtype=torch.long), "labels": labels, "row": torch.arange(rows)}
    if trainable.below is not None:
        return batch | {"inputs_embeds": torch.randn(rows, tokens, int(trainable.model.config.hidden_size)).to(dtype)}
    return batch | {"input_ids": torch.randint(5, 1000, (rows, tokens))}


def _step(trainer: Any, batch: dict[str, torch.Tensor], rows: int) -> float:
    start = time.perf_counter()
    trainer.training_step(trainer.model, dict(batch), num_items_in_batch=torch.tensor(rows))
    trainer.optimizer.step()
    trainer.optimizer.zero_grad()
    return time.perf_counter() - start


if __name__ == "__main__":
    main()
