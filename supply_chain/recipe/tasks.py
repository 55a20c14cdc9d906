"""What each task can be measured by, and what a recipe says when it leaves that out."""

from typing import Any, Literal

from supply_chain.recipe.data import Task

Metric = Literal["macro_f1", "accuracy", "exact_match", "micro_f1", "rouge_l", "chrf", "bleu", "similarity"]
METRICS: dict[Task, tuple[Metric, ...]] = {
    "classification": ("macro_f1", "accuracy"),
    "multilabel": ("exact_match", "micro_f1", "macro_f1"),
    "extraction": ("exact_match", "micro_f1", "macro_f1"),
    "generation": ("rouge_l", "chrf", "bleu", "exact_match", "similarity"),
}
"""The first is the default."""


def for_task(values: dict[str, Any]) -> dict[str, Any]:
    """A recipe's mapping with the defaults that its task gives to other blocks."""
    task = values["task"]
    given: dict[str, dict[str, Any]] = {"data": {"task": task}}
    if task != "classification":
        given["evaluate"] = {"metric": METRICS[task][0], "baselines": ["majority"]}
        given["promote"] = {"beats": ["majority"]}
        train = values.get("train")
        given["train"] = {"answers": "words"} if isinstance(train, dict) and train.get("method") == "distill" else {}
    if task == "generation":
        given["evaluate"]["also"] = ["chrf", "bleu", "exact_match"]
    blocks = {name: {**own, **values[name]} for name, own in given.items() if isinstance(values.get(name), dict)}
    return {**values, **blocks}
