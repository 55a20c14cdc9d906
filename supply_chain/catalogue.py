"""The catalogue of base models that recipes may name."""

from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field, model_validator

from supply_chain.errors import InvalidInput
from supply_chain.recipe.data import PackageSource, Sha256
from supply_chain.recipe.load import load_yaml
from supply_chain.recipe.part import Part, Surroundings
from supply_chain.settings import Settings


class LocalModel(Part):
    """A folder of safetensors and tokenizer files; a relative path starts at the project's root."""

    kind: Literal["path"]
    path: str


class HubModel(Part):
    """A Hugging Face repository at one commit."""

    kind: Literal["hf"]
    repo: Annotated[str, Field(pattern=r"^[\w.-]+/[\w.-]+$")]
    sha256: dict[str, Sha256] = {}
    """SHA-256 of weight files; a file that is listed must match."""


class BaseModelEntry(Part):
    """One base model: where it comes from and what it may be used for."""

    name: Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9.-]*$")]
    size: Literal["small", "medium", "large"]
    role: Literal["student", "teacher", "either"]
    source: Annotated[PackageSource | LocalModel | HubModel, Field(discriminator="kind")]
    revision: str
    """Commit for `hf`, release name otherwise."""
    license: str
    languages: list[str]
    context_tokens: int = Field(ge=16)
    parameters: int = Field(ge=1)
    vocabulary: str | None = Field(None, exclude_if=lambda value: value is None)
    """Models that name the same one share a tokenizer, so that one can teach the other token by token."""


class Catalogue(Part):
    """All base models of a project."""

    models: list[BaseModelEntry] = Field(min_length=1)

    @model_validator(mode="after")
    def _unique(self) -> "Catalogue":
        names = [m.name for m in self.models]
        twice = sorted({n for n in names if names.count(n) > 1})
        if twice:
            raise ValueError(f"models: {', '.join(twice)} stand twice")
        return self

    def get(self, name: str) -> BaseModelEntry:
        """The entry called `name`. Raises InvalidInput."""
        for model in self.models:
            if model.name == name:
                return model
        raise InvalidInput(f"unknown base model {name!r}; known: {', '.join(m.name for m in self.models)}")

    def surroundings(self, root: Path, recipes: Path | None = None) -> Surroundings:
        """What recipes may refer to."""
        read = {m.name: m.vocabulary for m in self.models if m.vocabulary}
        return Surroundings(root, tuple(m.name for m in self.models), recipes, read)


def load_catalogue(settings: Settings) -> Catalogue:
    """`base_models.yaml` of the recipes' folder. Raises InvalidRecipe with all faults."""
    found = load_yaml(settings.recipes / "base_models.yaml", Catalogue)
    return Catalogue(models=[_rooted(model, settings.root) for model in found.models])


def _rooted(model: BaseModelEntry, root: Path) -> BaseModelEntry:
    if not isinstance(model.source, LocalModel):
        return model
    path = str((root / model.source.path).resolve())
    return model.model_copy(update={"source": model.source.model_copy(update={"path": path})})
