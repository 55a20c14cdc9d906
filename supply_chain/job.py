"""What every stage after the split works with."""

from dataclasses import dataclass

from supply_chain.decoding import Measure
from supply_chain.prompt import Renderer
from supply_chain.recipe import Recipe
from supply_chain.recipe.preference import PreferenceTrain
from supply_chain.records import Artifact, BaseModelRecord, Splits
from supply_chain.settings import Settings
from supply_chain.store import Store, Stored


@dataclass(frozen=True)
class Job:
    """One recipe with its base model and data, and the project it is made in."""

    recipe: Recipe
    base: Stored[BaseModelRecord]
    splits: Stored[Splits]
    settings: Settings
    store: Store
    teacher: Stored[Artifact] | Stored[BaseModelRecord] | None = None
    """Whom a `distill` recipe's student learns from, or whose weights a `preference` recipe trains on."""

    measure: Measure | None = None
    """The recipe's metric on given rows; needed where `evaluate.decoding` is chosen by it."""

    @property
    def start(self) -> Stored[Artifact] | Stored[BaseModelRecord]:
        """Whose weights training begins with."""
        return self.teacher if self.teacher and isinstance(self.recipe.train, PreferenceTrain) else self.base

    @property
    def labels(self) -> list[str]:
        """The labels, in the order that every record uses."""
        return self.splits.record.labels

    @property
    def prompt_sha256(self) -> str:
        """Identity of the renderer."""
        return Renderer(self.recipe.prompt, tuple(self.labels), task=self.recipe.task).sha256
