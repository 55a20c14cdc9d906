"""Speed of fine-tuning on short texts, against TRL's SFTTrainer: `python benchmarks/train_speed.py`.

The same rows (sentences of reviews, three labels), LoRA settings, batch size and number of steps in each arm, one
thread, each in a process of its own; loss and accuracy on validation rows by one function for all.

- `trl`: SFTTrainer with its own defaults for a CPU (`use_cpu=True`, activation checkpointing off).
- `ours`: `train: {method: lora}`; the arithmetic that a few timed steps chose, or that `SUPPLY_CHAIN_COMPUTE` states.
- `ours_top_layers`: adapters on the last ten layers alone, states of the layers below computed once.
"""

import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

os.environ.update({"HF_HUB_OFFLINE": "1", "TOKENIZERS_PARALLELISM": "false", "OMP_NUM_THREADS": "1"})

import torch
from measure import ROOT, report

from evals.timing import peak_memory_bytes
from supply_chain.artifacts import merge
from supply_chain.batches import Batches
from supply_chain.catalogue import load_catalogue
from supply_chain.data.curate import curate
from supply_chain.data.examples import read_split
from supply_chain.data.source import locate
from supply_chain.data.split import split
from supply_chain.encode import training_rows
from supply_chain.hub import provide_base
from supply_chain.inference import Loaded
from supply_chain.job import Job
from supply_chain.label_loss import label_logits
from supply_chain.prompt import Renderer
from supply_chain.recipe import load_recipe
from supply_chain.recipe.train import LoraTrain
from supply_chain.scoring import label_likelihoods
from supply_chain.settings import Settings, load_settings
from supply_chain.store import Store
from supply_chain.tracking import NoTracker
from supply_chain.trainable import Trainable
from supply_chain.training import train

ARMS = ("trl", "ours", "ours_top_layers")
TRAIN: dict[str, Any] = {"method": "lora", "epochs": 3, "batch_size": 16, "checkpoint_steps": 10_000}
ROWS_PER_LABEL = 80


def main() -> None:
    """Writes `results/train_speed.json`; with an arm's name, runs that arm and prints its figures."""
    if len(sys.argv) > 1:
        print(json.dumps(ARM[sys.argv[1]]()))
        return
    found = {}
    for arm in ARMS:
        done = subprocess.run([sys.executable, __file__, arm], capture_output=True, text=True, check=False, cwd=ROOT)
        assert done.returncode == 0, done.stderr[-3000:]
        found[arm] = json.loads(done.stdout.splitlines()[-1])
        print(arm, found[arm], file=sys.stderr)
    trl = found["trl"]
    report(
        "train_speed",
        threads=1,
        **found,
        speedup={arm: round(found[arm]["examples_per_second"] / trl["examples_per_second"], 2) for arm in ARMS[1:]},
        loss_difference={arm: round(found[arm]["loss"] / trl["loss"] - 1, 4) for arm in ARMS[1:]},
    )


def a_job(home: Path, **block: Any) -> Job:
    """The repository's sentiment recipe with fewer rows, in a state folder that shares downloads and base."""
    state = load_settings()
    settings = Settings(home=home, threads=1, compute=state.compute)
    recipe = load_recipe(ROOT / "recipes/review_sentiment.yaml", load_catalogue(state).surroundings(state.root))
    rules = recipe.data.rules.model_copy(update={"max_rows_per_label": ROWS_PER_LABEL})
    shares = recipe.data.split.model_copy(update={"validation": 0.3, "test": 0.05})
    data = recipe.data.model_copy(update={"rules": rules, "split": shares})
    recipe = recipe.model_copy(update={"data": data, "train": LoraTrain.model_validate({**TRAIN, **block})})
    store = Store.of(settings)
    source = locate(data.source, state.downloads, state.root)
    splits = split(curate(data, source, store), data.split, state.seed, store)
    base = provide_base(load_catalogue(state).get(recipe.base), state.downloads, Store.of(state))
    return Job(recipe, base, splits, settings, store)


def by_trl() -> dict[str, Any]:
    """SFTTrainer on the same strings; it masks the prompt and appends the end token itself."""
    from datasets import Dataset
    from peft import LoraConfig
    from transformers import AutoTokenizer
    from trl import SFTConfig, SFTTrainer

    with tempfile.TemporaryDirectory() as folder:
        job = a_job(Path(folder))
        spec, tokenizer = job.recipe.train, AutoTokenizer.from_pretrained(job.base.path)
        renderer = Renderer.of(job.recipe.prompt, job.labels, tokenizer)
        rows = read_split(job.splits, "train")
        pairs = [{"prompt": renderer.context(r.text), "completion": renderer.answer(r.label)} for r in rows]
        trainer = SFTTrainer(
            model=str(job.base.path),
            args=SFTConfig(
                output_dir=folder,
                use_cpu=True,
                activation_checkpointing=False,
                per_device_train_batch_size=spec.batch_size,
                num_train_epochs=spec.epochs,
                learning_rate=spec.learning_rate,
                warmup_steps=spec.warmup,
                save_strategy="no",
                report_to="none",
                seed=job.settings.seed,
            ),
            train_dataset=Dataset.from_list(pairs),
            processing_class=tokenizer,
            peft_config=LoraConfig(r=16, lora_alpha=32, target_modules="all-linear", task_type="CAUSAL_LM"),
        )
        began = time.perf_counter()
        trainer.train()
        seconds = time.perf_counter() - began
        model = trainer.model.merge_and_unload()
        return figures(job, model, tokenizer, trainer.state.global_step, seconds)


def by_us(**block: Any) -> dict[str, Any]:
    """`train` and `merge`; the seconds hold everything after the choice of arithmetic, kept states included."""
    from transformers import AutoTokenizer

    from supply_chain.inference import open_weights

    with tempfile.TemporaryDirectory() as folder:
        job = a_job(Path(folder), **block)
        trained = train(job, lambda key: NoTracker())
        record, peak = trained.record, peak_memory_bytes()
        merged = merge(job, trained)
        model = open_weights(merged.path, record.compute)
        tokenizer = AutoTokenizer.from_pretrained(merged.path)
        found = figures(job, model, tokenizer, record.steps, record.seconds)
        return {**found, "peak_memory_mb": round(peak / 1e6), "compute": record.compute.model_dump()}


def figures(job: Job, model: Any, tokenizer: Any, steps: int, seconds: float) -> dict[str, Any]:
    """Speed of the training, and what its result says about the validation rows (in float32)."""
    peak = peak_memory_bytes()
    model = model.float().eval()
    rows = read_split(job.splits, "validation")
    renderer = Renderer.of(job.recipe.prompt, job.labels, tokenizer)
    encoded = training_rows(rows, renderer, tokenizer, job.recipe.train.max_tokens)
    whole = Trainable(model, model.get_decoder(), model.get_output_embeddings(), None, False)
    losses = []
    with torch.inference_mode():
        for start in range(0, len(encoded), 16):
            batch = Batches(0)([encoded[i] for i in range(start, min(start + 16, len(encoded)))])
            losses.append(torch.nn.functional.cross_entropy(*label_logits(whole, batch), reduction="none"))
    found = label_likelihoods(Loaded(model, tokenizer, 0.0), renderer, [row.text for row in rows])
    right = sum(job.labels[r.index(max(r))] == row.label for r, row in zip(found, rows, strict=True))
    return {
        "steps": steps,
        "seconds": round(seconds, 1),
        "examples_per_second": round(steps * job.recipe.train.batch_size / seconds, 2),
        "loss": round(float(torch.cat(losses).mean()), 4),
        "accuracy": round(right / len(rows), 4),
        "validation_rows": len(rows),
        "peak_memory_mb": round(peak / 1e6),
    }


ARM = {"trl": by_trl, "ours": by_us, "ours_top_layers": lambda: by_us(top_layers=10)}

if __name__ == "__main__":
    main()
