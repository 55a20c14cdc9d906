"""Reads recipes: safe YAML, every fault at once, each with its line and path."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any, TypeVar

from pydantic import BaseModel, ValidationError

from supply_chain.errors import Fault, InvalidRecipe
from supply_chain.recipe.faults import duplicate_keys, faults_of, line_of
from supply_chain.recipe.files import find_recipes, parse
from supply_chain.recipe.part import Surroundings
from supply_chain.recipe.schema import Recipe
from supply_chain.recipe.suites import inherited

M = TypeVar("M", bound=BaseModel)


def load_recipe(path: Path, around: Surroundings) -> Recipe:
    """The recipe in `path`. Raises InvalidRecipe with all faults, InvalidInput if there is no such file."""
    return load_yaml(path, Recipe, around, stem_is_name=True)


def load_recipes(folder: Path, around: Surroundings) -> tuple[list[Recipe], dict[str, InvalidRecipe]]:
    """Every recipe of a folder that loads, and the faults of the others by file name."""
    recipes: dict[str, Recipe] = {}
    faulty: dict[str, InvalidRecipe] = {}
    for path in find_recipes(folder):
        try:
            if path.stem in recipes:
                raise InvalidRecipe(path, [Fault("name", f"another recipe is called {path.stem}, too")])
            recipes[path.stem] = load_recipe(path, around)
        except InvalidRecipe as error:
            faulty[path.stem if path.stem.isidentifier() else f"recipe_{len(faulty)}"] = error
    return list(recipes.values()), faulty


def load_yaml(path: Path, model: type[M], context: Any = None, stem_is_name: bool = False) -> M:
    """A YAML file as `model`. Raises InvalidRecipe with every fault of the file."""
    root, data = parse(path)
    faults = list(duplicate_keys(root)) if root is not None else []
    if isinstance(context, Surroundings) and model is Recipe and isinstance(data, dict):
        data, strange = inherited(data, context.root)
        faults += [replace(fault, line=line_of(("suite",), root)) for fault in strange]
    if stem_is_name and isinstance(data, dict) and isinstance(data.get("name"), str) and data["name"] != path.stem:
        faults.append(Fault("name", f"must be {path.stem!r}, the file's name, found {data['name']!r}"))
    try:
        result = model.model_validate(data, context=context)
    except ValidationError as error:
        raise InvalidRecipe(path, faults + faults_of(error, model, root)) from None
    if faults:
        raise InvalidRecipe(path, faults)
    return result


def schema_text() -> str:
    """The recipe's JSON Schema, as `recipes/recipe.schema.json` holds it."""
    schema = {"$schema": "https://json-schema.org/draft/2020-12/schema", **Recipe.model_json_schema()}
    return json.dumps(schema, indent=2, ensure_ascii=False) + "\n"
