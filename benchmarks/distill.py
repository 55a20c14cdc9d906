"""A 15-layer student of the banking77 specialist: `python benchmarks/distill.py` (after `banking77.py`).

Accuracy and decisions a second of teacher and student from their stored bytes, on the official test rows; and seconds a
step of our training with stored teacher answers against TRL's GKD offline (`lmbda=0`) for a stretch of equal steps:
the same rows, batch size, teacher and student depth, one thread. Our seconds hold each step's share of asking the
teacher once.
"""

import dataclasses
import json
import os
import sys
import tempfile
import time
from typing import Any

os.environ.update({"HF_HUB_OFFLINE": "1", "TOKENIZERS_PARALLELISM": "false", "OMP_NUM_THREADS": "1"})

import torch
from banking77 import answered
from measure import report
from specialist import BANKING77, banking77, make

from supply_chain.compute import scoring_compute
from supply_chain.data.examples import read_split
from supply_chain.inference import load
from supply_chain.job import Job
from supply_chain.prompt import Renderer
from supply_chain.scoring import label_likelihoods
from supply_chain.trainable import keep_layers

STUDENT: dict[str, Any] = {
    "method": "distill",
    "teacher": {"recipe": "banking77"},
    "student": {"layers": 15},
    "objective": {"kind": "logits", "truth_weight": 0.3, "temperature": 2},
    "epochs": 2,
    "batch_size": 32,
    "learning_rate": 2e-4,
    "weight_decay": 0.01,
    "checkpoint_steps": 100,
    "stopping": {"patience": 2},
}
STRETCH = 8
CHAT = "{% for m in messages %}{{ m['content'] }}{% endfor %}"


def main() -> None:
    """Writes `results/distill.json`."""
    teacher = make(banking77(BANKING77))
    began = time.perf_counter()
    job = dataclasses.replace(banking77(STUDENT), teacher=teacher.merged)
    student = make(job)
    record = student.trained.record
    asking_s = seconds_to_ask(job)
    ours, gkd = (record.seconds + asking_s) / record.steps, by_gkd(job)
    report(
        "distill",
        train=STUDENT,
        layers=record.layers,
        steps=record.steps,
        training_minutes=round(record.seconds / 60, 1),
        whole_minutes=round((time.perf_counter() - began) / 60, 1),
        compute=record.compute.model_dump(),
        teacher=answered(teacher.job, "specialist", teacher.merged),
        student=answered(job, "specialist", student.merged),
        asking_the_teacher_s=round(asking_s, 1),
        seconds_a_step={"ours": round(ours, 2), "gkd": round(gkd, 2)},
        time_of_gkd=round(ours / gkd, 3),
    )


def seconds_to_ask(job: Job, sample: int = 320) -> float:
    """Seconds that the teacher takes for all train rows, from a sample of them."""
    assert job.teacher is not None
    rows = read_split(job.splits, "train")
    loaded = load(job.teacher.path, scoring_compute(job.settings))
    renderer = Renderer.of(job.recipe.prompt, job.labels, loaded.tokenizer)
    began = time.perf_counter()
    label_likelihoods(loaded, renderer, [row.text for row in rows[:sample]])
    return (time.perf_counter() - began) * len(rows) / sample


def by_gkd(job: Job) -> float:
    """Seconds a step of TRL's GKDTrainer offline, after one step of warm-up; both models from the same base."""
    from datasets import Dataset
    from transformers import AutoModelForCausalLM, AutoTokenizer, TrainerCallback
    from trl.experimental.gkd import GKDConfig, GKDTrainer

    tokenizer = AutoTokenizer.from_pretrained(job.base.path)
    tokenizer.chat_template = CHAT
    rows = read_split(job.splits, "train")[: STUDENT["batch_size"] * (STRETCH + 1)]
    messages = [[{"role": "user", "content": r.text}, {"role": "assistant", "content": f" {r.label}"}] for r in rows]
    models = [AutoModelForCausalLM.from_pretrained(job.base.path, dtype=torch.float32) for _ in range(2)]
    keep_layers(models[0], list(range(0, 30, 2)))
    ends: list[float] = []

    class Clock(TrainerCallback):
        def on_step_end(self, *args: Any, **kwargs: Any) -> None:
            ends.append(time.perf_counter())

    with tempfile.TemporaryDirectory() as folder:
        trainer = GKDTrainer(
            model=models[0],
            teacher_model=models[1],
            args=GKDConfig(
                output_dir=folder,
                use_cpu=True,
                activation_checkpointing=False,
                lmbda=0.0,
                per_device_train_batch_size=STUDENT["batch_size"],
                max_steps=STRETCH + 1,
                learning_rate=STUDENT["learning_rate"],
                save_strategy="no",
                report_to="none",
            ),
            train_dataset=Dataset.from_list([{"messages": m} for m in messages]),
            processing_class=tokenizer,
            callbacks=[Clock()],
        )
        trainer.train()
    return (ends[-1] - ends[0]) / STRETCH


if __name__ == "__main__":
    if sys.argv[1:] == ["gkd"]:
        print(json.dumps({"gkd_s_a_step": by_gkd(banking77(STUDENT))}))
    else:
        main()
