"""Writes the reference of recipe, fleet policy and manifest from their schemas: `python -m assets.reference`."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from registry.fleet import Fleet
from registry.routing import RoutingManifest
from supply_chain.recipe import Recipe
from supply_chain.settings import PROJECT
from supply_chain.store import write_atomically

Schema = dict[str, Any]
FOLDER = PROJECT / "docs" / "reference"
_LIMITS = {"minimum": "≥", "exclusiveMinimum": ">", "maximum": "≤", "exclusiveMaximum": "<"}


def pages() -> dict[Path, str]:
    """Every reference page by its path."""
    return {
        FOLDER / "recipe.md": page("Recipe reference", "`recipes/NAME.yaml`", Recipe.model_json_schema()),
        FOLDER / "fleet.md": page("Fleet policy reference", "`recipes/fleet.yaml`", Fleet.model_json_schema()),
        FOLDER / "manifest.md": page(
            "Routing manifest reference", "`routing-manifest.json`", RoutingManifest.model_json_schema()
        ),
    }


def page(title: str, file: str, schema: Schema) -> str:
    """A table for the file itself and for each of its blocks, in the order in which they are named."""
    blocks = schema.get("$defs", {})
    order, queue = [], [*_refs(schema.get("properties", {}))]
    while queue:
        name = queue.pop(0)
        if name not in order:
            order.append(name)
            queue += _refs(blocks[name])
    parts = [f"# {title}\n", f"{file}; made from the schema, so every key and default is here.\n", *_table(schema)]
    for name in order:
        if "properties" in blocks[name]:
            about = blocks[name].get("description", "").split("\n")[0]
            parts += [f"## {name}\n", *([f"{_cell(about)}\n"] if about else []), *_table(blocks[name])]
    return "\n".join(parts)


def _table(schema: Schema) -> list[str]:
    rows = ["| key | what it takes | default | meaning |", "|---|---|---|---|"]
    needed = schema.get("required", [])
    for key, value in schema.get("properties", {}).items():
        default = "**required**" if key in needed else f"`{_plain(value['default'])}`" if "default" in value else ""
        rows.append(f"| `{key}` | {_cell(_kind(value))} | {_cell(default)} | {_cell(value.get('description', ''))} |")
    return [*rows, ""]


def _kind(value: Schema) -> str:
    if "$ref" in value:
        name = value["$ref"].rpartition("/")[2]
        return f"[{name}](#{name.lower()})"
    if "const" in value or "enum" in value:
        return ", ".join(f"`{choice}`" for choice in value.get("enum", [value.get("const")]))
    for either in ("anyOf", "oneOf"):
        if either in value:
            return " or ".join(_kind(one) for one in value[either] if one.get("type") != "null")
    if value.get("type") == "array":
        return f"list of {_kind(value.get('items', {}))}"
    if isinstance(value.get("additionalProperties"), dict):
        return f"map to {_kind(value['additionalProperties'])}"
    limits = " ".join(f"{sign} {value[name]:g}" for name, sign in _LIMITS.items() if name in value)
    return f"{value.get('type', 'any')} {limits}".strip()


def _refs(value: Any) -> Iterator[str]:
    if isinstance(value, dict):
        if isinstance(value.get("$ref"), str):
            yield value["$ref"].rpartition("/")[2]
        for one in value.values():
            yield from _refs(one)
    elif isinstance(value, list):
        for one in value:
            yield from _refs(one)


def _plain(value: Any) -> str:
    return "" if value is None else str(value).lower() if isinstance(value, bool) else str(value)


def _cell(text: str) -> str:
    return " ".join(text.replace("|", "\\|").split()).replace("``", "")


if __name__ == "__main__":
    for path, text in pages().items():
        write_atomically(path, text)
