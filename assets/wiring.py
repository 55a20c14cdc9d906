"""What the assets of a recipe are called, which of them each one reads, and what the Dagster UI shows of all."""

import re
from collections.abc import Callable
from typing import Any

import dagster as dg

from assets.declared import Declared
from supply_chain.recipe import Recipe
from supply_chain.recipe.distill import DistillTrain
from supply_chain.recipe.preference import PreferenceTrain

FLAKY = dg.RetryPolicy(max_retries=2, delay=5, backoff=dg.Backoff.EXPONENTIAL, jitter=dg.Jitter.PLUS_MINUS)
"""For steps that ask something outside; only errors that the next try may not meet are retried, see `launch`."""


def base_key_of(name: str) -> dg.AssetKey:
    """The asset of a base model; key parts hold letters, digits and underscores."""
    return dg.AssetKey(["base_models", name.replace("-", "_").replace(".", "_")])


def asset_of(recipe: Recipe, *parts: str, **options: Any) -> Callable[[Callable[..., Any]], Declared]:
    """Declares a function as one of a recipe's assets, which is called as it is; `options` as `Declared` has them."""

    def declared(function: Callable[..., Any]) -> Declared:
        name = options.pop("name", function.__name__)
        return Declared(recipe, name, function, parts, tags=tags_of(recipe), **options)

    return declared


def tags_of(recipe: Recipe) -> dict[str, str]:
    """What the UI filters a recipe's assets by; a value holds letters, digits, `_`, `-` and `.`."""
    values = {
        "task": recipe.task,
        "base": recipe.base,
        "method": recipe.train.method,
        "sensitivity": recipe.data.sensitivity,
        "owner": recipe.owner.removeprefix("team:"),
    }
    return {name: re.sub(r"[^A-Za-z0-9_.-]", "_", value)[:63] for name, value in values.items()}


def teacher_of(recipe: Recipe) -> str | None:
    """The recipe whose weights this one learns from (`distill`) or starts from (`preference`)."""
    if isinstance(recipe.train, PreferenceTrain):
        return recipe.train.start
    return recipe.train.teacher.recipe if isinstance(recipe.train, DistillTrain) else None


def teacher_key_of(recipe: Recipe) -> dg.AssetKey | None:
    """The asset that a recipe learns from: another recipe's weights or a base model. None where no asset teaches."""
    if named := teacher_of(recipe):
        return dg.AssetKey([named, "merged_model"])
    base = recipe.train.teacher.base if isinstance(recipe.train, DistillTrain) else None
    return base_key_of(base) if base else None


def ins_of(recipe: Recipe, *names: str) -> dict[str, dg.AssetKey]:
    """Keys of inputs by name: `base` and `teacher` come from elsewhere, the others are this recipe's own."""
    keys = {"base": base_key_of(recipe.base), "teacher": teacher_key_of(recipe)}
    return {name: keys.get(name) or dg.AssetKey([recipe.name, name]) for name in names}
