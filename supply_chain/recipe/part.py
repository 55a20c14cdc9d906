"""What every part of a recipe shares."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated

from pydantic import AfterValidator, BaseModel, ConfigDict, ValidationInfo


class Part(BaseModel):
    """A block of a YAML file: unknown keys are faults, values never change."""

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)


@dataclass(frozen=True)
class Surroundings:
    """What a recipe may refer to: the project's folder, the names of known base models, other recipes."""

    root: Path
    bases: tuple[str, ...]
    recipes: Path | None = None
    """Folder of the recipes that may be teachers; None: teachers are not looked up."""
    vocabularies: Mapping[str, str] = field(default_factory=dict)
    """Base models by name: those with the same vocabulary here read the same tokens; others have their own."""


def _inside_project(value: str, info: ValidationInfo) -> str:
    surroundings: Surroundings | None = info.context
    if surroundings is None:
        return value
    path = (surroundings.root / value).resolve()
    if not path.is_relative_to(surroundings.root.resolve()):
        raise ValueError(f"{value} leads out of the project; move or link the data below {surroundings.root}")
    if not path.exists():
        raise ValueError(f"no such file: {path}")
    return value


ProjectPath = Annotated[str, AfterValidator(_inside_project)]
"""A path relative to the project's root that exists and stays inside it."""
