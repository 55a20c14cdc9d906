"""What a heavy step asks of the machine that runs it, as tags of the step.

The executor that runs here keeps to one worker at a time and reads none of them; one that gives each step a
container of its own (`dagster_k8s.k8s_job_executor`) takes its request from `dagster-k8s/config`.
"""

from typing import Any, Literal

from assets.project import Project
from supply_chain.recipe import Recipe

_LIBRARIES_GB = 2.0
_BYTES = {"load": 8, "adapter": 12, "weights": 20}
"""Bytes a parameter: weights as stored and as computed with; a trained one has a gradient and Adam's two moments."""


def needs(recipe: Recipe, project: Project, step: Literal["load", "train"]) -> dict[str, Any]:
    """Memory (a request, not a bound: activations depend on the rows), cores and GPUs of a step."""
    settings = project.settings
    gigabytes = _LIBRARIES_GB + _BYTES[_kind(recipe, step)] * project.catalogue.get(recipe.base).parameters / 1e9
    gpus = settings.processes if settings.device == "cuda" else 0
    resources: dict[str, Any] = {"requests": {"cpu": str(settings.threads or 1), "memory": f"{gigabytes:.1f}G"}}
    if gpus:
        resources["limits"] = {"nvidia.com/gpu": str(gpus)}
    return {
        "supply_chain/step": step,
        "supply_chain/memory_gb": f"{gigabytes:.1f}",
        "supply_chain/gpus": str(gpus),
        "dagster-k8s/config": {"container_config": {"resources": resources}},
    }


def _kind(recipe: Recipe, step: str) -> str:
    if step == "load":
        return "load"
    tuned = getattr(recipe.train, "tune", {"lora": "lora", "qlora": "lora"}.get(recipe.train.method, "full"))
    return "weights" if tuned == "full" else "adapter"
