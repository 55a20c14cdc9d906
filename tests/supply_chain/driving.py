"""Runs a stage of a job in a process of its own, which tests may kill: `python -m tests.supply_chain.driving`."""

import json
import os
import resource
import subprocess
import sys
from pathlib import Path
from typing import Any

from assets.refs import Ref
from supply_chain.job import Job
from supply_chain.recipe import Recipe
from supply_chain.search import search
from supply_chain.settings import Settings
from supply_chain.store import Store, Stored
from supply_chain.tracking import NoTracker
from supply_chain.training import train

SPARE_BYTES = 400 << 20


def start(stage: str, job: Job, folder: Path, **options: Any) -> "subprocess.Popen[str]":
    """Begins `train`, `train_with_little_memory` or `search`; what it prints comes out of its pipes."""
    path = folder / "job.json"
    path.write_text(
        json.dumps(
            {
                "recipe": job.recipe.model_dump(mode="json"),
                "settings": job.settings.model_dump(mode="json"),
                "inputs": {"base": _told(job.base), "splits": _told(job.splits)},
            }
        )
    )
    command = [sys.executable, "-m", "tests.supply_chain.driving", stage, str(path)]
    return subprocess.Popen(command, text=True, cwd=Path(__file__).resolve().parents[2], **options)


def _told(stored: Stored[Any]) -> dict[str, Any]:
    return {"root": str(stored.path.parent.parent), "ref": Ref.to(stored).model_dump()}


def _job(path: Path) -> Job:
    data = json.loads(path.read_text())
    settings = Settings.model_validate(data["settings"])
    inputs = {name: Ref(**told["ref"]).load(Store(Path(told["root"]))) for name, told in data["inputs"].items()}
    recipe = Recipe.model_validate(data["recipe"])
    return Job(recipe, inputs["base"], inputs["splits"], settings, Store.of(settings))


def _train(job: Job) -> None:
    train(job, lambda key: NoTracker())


def _train_with_little_memory(job: Job) -> None:
    def limited(key: str) -> NoTracker:
        pages = int(Path("/proc/self/statm").read_text().split()[0])
        allowed = pages * resource.getpagesize() + SPARE_BYTES
        resource.setrlimit(resource.RLIMIT_AS, (allowed, allowed))
        return NoTracker()

    record = train(job, limited).record
    print(record.micro_batch, *(point.loss for point in record.losses))


def _search(job: Job) -> None:
    search(job, lambda key, stage, parent: NoTracker())


if __name__ == "__main__":
    os.environ["TQDM_DISABLE"] = "1"
    {"train": _train, "train_with_little_memory": _train_with_little_memory, "search": _search}[sys.argv[1]](
        _job(Path(sys.argv[2]))
    )
