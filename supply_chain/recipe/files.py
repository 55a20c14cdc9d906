"""Recipe files: which there are, and what stands in them before anything is validated."""

from pathlib import Path
from typing import Any

import yaml

from supply_chain.errors import Fault, InvalidInput, InvalidRecipe

_Loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
_RESERVED = {"base_models", "fleet"}
_MAX_BYTES = 1 << 20
_MAX_DEPTH = 50


def find_recipes(folder: Path) -> list[Path]:
    """Recipe files below `folder`, sorted by name; the catalogue and the fleet policy are not recipes."""
    return sorted((p for p in folder.rglob("*.yaml") if p.stem not in _RESERVED), key=lambda p: p.stem)


def parse(path: Path) -> tuple[yaml.Node | None, Any]:
    """The nodes of a YAML file, which know their lines, and the data. Raises InvalidInput or InvalidRecipe."""
    try:
        if path.stat().st_size > _MAX_BYTES:
            raise InvalidInput(f"{path} is larger than 1 MiB: not a recipe")
        text = path.read_text(encoding="utf-8")
        _check_events(path, text)
        loader = _Loader(text)
        try:
            root = loader.get_single_node()
            return root, None if root is None else loader.construct_document(root)
        finally:
            loader.dispose()
    except OSError as error:
        raise InvalidInput(f"{path}: {error.strerror or error}") from None
    except UnicodeDecodeError as error:
        raise InvalidRecipe(path, [Fault("", f"not UTF-8 text: {error.reason} at byte {error.start}")]) from None
    except ValueError as error:  # `2026-13-45` looks like a date
        raise InvalidRecipe(path, [Fault("", f"holds a value that cannot be read: {error}")]) from None
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        problem = getattr(error, "problem", None) or str(error)
        raise InvalidRecipe(path, [Fault("", f"not YAML: {problem}", mark.line + 1 if mark else None)]) from None


def _check_events(path: Path, text: str) -> None:
    """Refuses aliases, a few of which can expand to gigabytes, and nesting that no reader's stack would bear."""
    depth = 0
    for event in yaml.parse(text, Loader=_Loader):
        line = event.start_mark.line + 1 if event.start_mark else None
        if isinstance(event, yaml.AliasEvent):
            raise InvalidRecipe(path, [Fault("", "aliases (*name) are not allowed", line)])
        depth += isinstance(event, yaml.CollectionStartEvent) - isinstance(event, yaml.CollectionEndEvent)
        if depth > _MAX_DEPTH:
            raise InvalidRecipe(path, [Fault("", f"nests deeper than {_MAX_DEPTH} levels", line)])
