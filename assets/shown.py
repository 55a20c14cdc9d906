"""Parts of a recipe as a person wrote them, for descriptions in the Dagster UI."""

import re
from typing import Any

import yaml
from pydantic import BaseModel

from supply_chain.recipe import Recipe

WHOLE = "*"
"""Names all of a recipe."""
_KINDS = ("name", "method", "scheme", "kind")  # read first, wherever the schema has them
_Dumper = getattr(yaml, "CSafeDumper", yaml.SafeDumper)


def value_at(recipe: Recipe, part: str) -> Any:
    """The value of a dotted name (`data.split`)."""
    value: Any = recipe
    for name in part.split("."):
        value = getattr(value, name)
    return value


def shown(recipe: Recipe, parts: tuple[str, ...]) -> str:
    """What a recipe says in these parts as YAML in Markdown; defaults and what it does not say are left out."""
    found = {part: _plain(recipe if part == WHOLE else value_at(recipe, part)) for part in parts}
    stated = found.get(WHOLE) or {part: value for part, value in found.items() if value not in (None, {}, [])}
    if not stated:
        return ""
    text = yaml.dump(stated, Dumper=_Dumper, sort_keys=False, allow_unicode=True, width=100)
    fence = "`" * max(3, *(len(run) + 1 for run in re.findall("`+", text)), 0)  # data cannot end the block
    return f"\n\n{fence}yaml\n{text}{fence}"


def _plain(value: Any) -> Any:
    if isinstance(value, BaseModel):
        said = value.model_dump(mode="json", exclude_unset=True)
        return {name: said[name] for name in (*(kind for kind in _KINDS if kind in said), *said)}
    return [_plain(one) for one in value] if isinstance(value, list) else value
