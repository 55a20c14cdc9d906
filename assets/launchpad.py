"""Decisions that a person may change for one run in Dagster's launchpad, without an edit of the recipe."""

from typing import Any

import dagster as dg
from pydantic import ValidationError

from supply_chain.errors import InvalidInput
from supply_chain.recipe import Recipe
from supply_chain.recipe.search import with_values

_KINDS: dict[str, Any] = {
    "learning_rate": float,
    "epochs": float,
    "max_steps": dg.Noneable(int),
    "batch_size": int,
    "max_tokens": int,
}


def launchpad(recipe: Recipe) -> dict[str, dg.Field]:
    """The launchpad's fields of a recipe's training, filled in with what the recipe says."""
    return {
        key: dg.Field(kind, default_value=getattr(recipe.train, key), is_required=False, description=f"train.{key}")
        for key, kind in _KINDS.items()
    }


def changes(recipe: Recipe, context: dg.AssetExecutionContext) -> dict[str, Any]:
    """What this run's launchpad says otherwise than the recipe does, by key of `train`."""
    said: Any = context.run.run_config
    for name in ("ops", f"{recipe.name}__adapter", "config"):
        said = (said or {}).get(name)
    return {key: value for key, value in (said or {}).items() if value != getattr(recipe.train, key)}


def told(values: dict[str, Any]) -> str | None:
    """Changed values in one line, or None."""
    return ", ".join(f"{key}={value}" for key, value in values.items()) or None


def experiment(recipe: Recipe, context: dg.AssetExecutionContext) -> str | None:
    """Why a run with changed values promotes nothing: its weights are what no recipe says."""
    values = told(changes(recipe, context))
    return values and f"{values}: changed for this run alone. Write it into the recipe, or promote the version yourself"


def changed(recipe: Recipe, values: dict[str, Any]) -> Recipe:
    """The recipe with other values of `train`. Raises InvalidInput that names every fault."""
    try:
        return recipe.model_copy(update={"train": with_values(recipe.train, values)}) if values else recipe
    except ValidationError as error:
        faults = [f"  train.{'.'.join(map(str, e['loc']))}: {e['msg']}, found {e['input']!r}" for e in error.errors()]
        raise InvalidInput("\n".join(["the launchpad's values cannot be used:", *faults])) from None
