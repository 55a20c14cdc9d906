"""Suites: what several recipes are measured by, in `evals/suites/*.yaml`.

A recipe names one (`suite: support`) and inherits what it leaves out; a mapping is inherited key by key, a list
as a whole. What a suite says is checked twice: here, with its own file and lines, and again as a part of the recipe.
"""

from collections.abc import Mapping
from copy import copy
from pathlib import Path
from typing import Any

from pydantic import Field, create_model

from supply_chain.errors import Fault, InvalidInput, InvalidRecipe
from supply_chain.recipe.evaluate import Evaluate, Kpis
from supply_chain.recipe.part import Part
from supply_chain.recipe.promote import Promote

FOLDER = "evals/suites"
_BLOCKS = ("evaluate", "promote")


def _partly(model: type[Part], **other: Any) -> type[Part]:
    """The same keys with the same bounds, none of them required."""
    fields: dict[str, Any] = {}
    for name, info in model.model_fields.items():
        optional = copy(info)
        optional.default, optional.default_factory = None, None
        fields[name] = (other.get(name, info.annotation), optional)
    return create_model(f"Partly{model.__name__}", __base__=Part, **fields)


_KPIS = _partly(Kpis)
_EVALUATE = _partly(Evaluate, kpis=_KPIS)
_PROMOTE = _partly(Promote)


class Suite(Part):
    """A suite file: parts of the blocks `evaluate` and `promote`."""

    name: str = Field(pattern=r"^[a-z][a-z0-9_]{1,60}$")
    description: str = Field(min_length=10)
    evaluate: _EVALUATE = _EVALUATE()  # type: ignore[valid-type]
    promote: _PROMOTE = _PROMOTE()  # type: ignore[valid-type]


def inherited(data: Mapping[str, Any], root: Path) -> tuple[dict[str, Any], list[Fault]]:
    """A recipe's mapping with what its suite adds, and the suite's faults (file and line) if it has any."""
    name, own = data.get("suite"), dict(data)
    if not isinstance(name, str):
        return own, []
    found, fault = _read(root / FOLDER, name)
    if fault is not None:
        return own, [fault]
    for block in _BLOCKS:
        if isinstance(own.get(block, {}), dict) and isinstance(found.get(block), dict):
            own[block] = _over(found[block], own.get(block, {}))
    return own, []


def _read(folder: Path, name: str) -> tuple[dict[str, Any], Fault | None]:
    from supply_chain.recipe.files import parse  # noqa: PLC0415
    from supply_chain.recipe.load import load_yaml  # noqa: PLC0415 (it reads recipes, which read suites)

    known = sorted(path.stem for path in folder.glob("*.yaml"))
    if name not in known:
        return {}, Fault("suite", f"no suite {name!r}; known: {', '.join(known) or f'none (they lie in {FOLDER})'}")
    path = folder / f"{name}.yaml"
    try:
        load_yaml(path, Suite, stem_is_name=True)
        found: dict[str, Any] = parse(path)[1]
    except InvalidRecipe as error:
        return {}, Fault("suite", "; ".join(f"{FOLDER}/{path.name}: {one}" for one in error.faults))
    except InvalidInput as error:
        return {}, Fault("suite", str(error))
    return found, None


def _over(suite: Mapping[str, Any], own: Mapping[str, Any]) -> dict[str, Any]:
    """The recipe's own keys over the suite's."""
    both = {**suite, **own}
    for key, value in suite.items():
        if isinstance(value, dict) and isinstance(own.get(key), dict):
            both[key] = _over(value, own[key])
    return both
