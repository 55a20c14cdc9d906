"""What each task can be measured by, and what a recipe says when it leaves that out."""

from typing import Any, Literal

from supply_chain.recipe.data import Task

Metric = Literal["macro_f1", "accuracy", "exact_match", "micro_f1"]
METRICS: dict[Task, tuple[Metric, ...]] = {
    "classification": ("macro_f1", "accuracy"),
    "multilabel": ("exact_match", "micro_f1", "macro_f1"),
    "extraction": ("exact_match", "micro_f1", "macro_f1"),
    "generation": (),
}
"""The first is the default; a task without any is not trained yet."""


def for_task(values: dict[str, Any]) -> dict[str, Any]:
    """A recipe's mapping with the defaults that its task gives to other blocks."""
    task = values["task"]
    given: dict[str, dict[str, Any]] = {"data": {"task": task}}
    if task != "classification":
        given["evaluate"] = {"metric": next(iter(METRICS[task]), "macro_f1"), "baselines": ["majority"]}
        given["promote"] = {"beats": ["majority"]}
        train = values.get("train")
        given["train"] = {"answers": "words"} if isinstance(train, dict) and train.get("method") == "distill" else {}
    blocks = {name: {**own, **values[name]} for name, own in given.items() if isinstance(values.get(name), dict)}
    return {**values, **blocks}


def misfits(task: Task, metric: Metric, rivals: set[str]) -> list[str]:
    """What a recipe asks for that its task cannot give."""
    found = []
    if METRICS[task] and metric not in METRICS[task]:
        found.append(f"evaluate.metric is {metric}; {task} is measured by {', '.join(METRICS[task])}")
    if task != "classification" and "tfidf" in rivals:
        found.append(f"tfidf (evaluate.baselines, promote.beats) answers classification only, not {task}")
    return found
