"""What the assets of a recipe are called, and which of them each one reads."""

from typing import Any

import dagster as dg

from supply_chain.identity import identity
from supply_chain.recipe import Recipe
from supply_chain.recipe.distill import DistillTrain
from supply_chain.recipe.preference import PreferenceTrain

Pipes = dg.ResourceParam[dg.PipesSubprocessClient]


def base_key_of(name: str) -> dg.AssetKey:
    """The asset of a base model; key parts hold letters, digits and underscores."""
    return dg.AssetKey(["base_models", name.replace("-", "_").replace(".", "_")])


def common(recipe: Recipe, *parts: Any, **more: Any) -> dict[str, Any]:
    """What a recipe's assets share; an edit of `parts` of the recipe shows the asset as stale."""
    return {
        "key_prefix": recipe.name,
        "group_name": recipe.name,
        "owners": [recipe.owner],
        "tags": {"task": recipe.task, "base": recipe.base, "method": recipe.train.method},
        "code_version": identity("asset", 1, parts=parts)[:12],
        **more,
    }


def teacher_key_of(recipe: Recipe) -> dg.AssetKey | None:
    """The asset that a `distill` recipe's student learns from: another recipe's weights, a base model, or None
    for one behind an endpoint."""
    if isinstance(recipe.train, PreferenceTrain) and recipe.train.start:
        return dg.AssetKey([recipe.train.start, "merged_model"])
    if not isinstance(recipe.train, DistillTrain):
        return None
    teacher = recipe.train.teacher
    if teacher.endpoint is not None:
        return None
    return base_key_of(teacher.base) if teacher.base else dg.AssetKey([str(teacher.recipe), "merged_model"])


def ins_of(recipe: Recipe, *names: str) -> dict[str, dg.AssetIn]:
    """Inputs by name: `base` and `teacher` come from elsewhere, the others are this recipe's own."""
    keys = {"base": base_key_of(recipe.base), "teacher": teacher_key_of(recipe)}
    return {name: dg.AssetIn(keys.get(name) or dg.AssetKey([recipe.name, name])) for name in names}
