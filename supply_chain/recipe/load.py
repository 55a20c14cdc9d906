"""Reads recipes: safe YAML, every fault at once, each with its line and path."""

import json
from pathlib import Path
from typing import Any, TypeVar

import yaml
from pydantic import BaseModel, ValidationError

from supply_chain.errors import Fault, InvalidInput, InvalidRecipe
from supply_chain.recipe.faults import duplicate_keys, faults_of
from supply_chain.recipe.part import Surroundings
from supply_chain.recipe.schema import Recipe

_Loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
_RESERVED = {"base_models", "fleet"}
_MAX_BYTES = 1 << 20
M = TypeVar("M", bound=BaseModel)


def load_recipe(path: Path, around: Surroundings) -> Recipe:
    """The recipe in `path`. Raises InvalidRecipe with all faults, InvalidInput if there is no such file."""
    return load_yaml(path, Recipe, around, stem_is_name=True)


def find_recipes(folder: Path) -> list[Path]:
    """Recipe files below `folder`, sorted by name; the catalogue and the fleet policy are not recipes."""
    return sorted((p for p in folder.rglob("*.yaml") if p.stem not in _RESERVED), key=lambda p: p.stem)


def load_yaml(path: Path, model: type[M], context: Any = None, stem_is_name: bool = False) -> M:
    """A YAML file as `model`. Raises InvalidRecipe with every fault of the file."""
    root, data = _parse(path)
    faults = list(duplicate_keys(root)) if root is not None else []
    if stem_is_name and isinstance(data, dict) and isinstance(data.get("name"), str) and data["name"] != path.stem:
        faults.append(Fault("name", f"must be {path.stem!r}, the file's name, found {data['name']!r}"))
    try:
        result = model.model_validate(data, context=context)
    except ValidationError as error:
        raise InvalidRecipe(path, faults + faults_of(error, model, root)) from None
    if faults:
        raise InvalidRecipe(path, faults)
    return result


def _parse(path: Path) -> tuple[yaml.Node | None, Any]:
    try:
        if path.stat().st_size > _MAX_BYTES:
            raise InvalidInput(f"{path} is larger than 1 MiB: not a recipe")
        text = path.read_text(encoding="utf-8")
        # Anchors are refused, since a few of them can expand to gigabytes.
        for event in yaml.parse(text, Loader=_Loader):
            if isinstance(event, yaml.AliasEvent):
                line = event.start_mark.line + 1 if event.start_mark else None
                raise InvalidRecipe(path, [Fault("", "aliases (*name) are not allowed", line)])
        return yaml.compose(text, Loader=_Loader), yaml.load(text, Loader=_Loader)  # noqa: S506 (safe loader)
    except OSError as error:
        raise InvalidInput(f"{path}: {error.strerror or error}") from None
    except UnicodeDecodeError as error:
        raise InvalidRecipe(path, [Fault("", f"not UTF-8 text: {error.reason} at byte {error.start}")]) from None
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        problem = getattr(error, "problem", None) or str(error)
        raise InvalidRecipe(path, [Fault("", f"not YAML: {problem}", mark.line + 1 if mark else None)]) from None


def schema_text() -> str:
    """The recipe's JSON Schema, as `recipes/recipe.schema.json` holds it."""
    schema = {"$schema": "https://json-schema.org/draft/2020-12/schema", **Recipe.model_json_schema()}
    return json.dumps(schema, indent=2, ensure_ascii=False) + "\n"
