"""What a recipe's train rows take over from its champion and from its experts."""

from assets.contest import weights_of
from assets.project import Project
from registry.release import incumbent
from supply_chain.data.corrections import stored_corrections
from supply_chain.data.source import locate
from supply_chain.recipe import Recipe
from supply_chain.recipe.continual import Continued
from supply_chain.records import Splits
from supply_chain.store import Stored
from supply_chain.succession import parent_of, succeed


def split_parts(recipe: Recipe) -> list[str]:
    """The parts of a recipe that decide its splits."""
    later = ("continual", "corrections") if isinstance(recipe.train, Continued) else ()
    return ["data.split", *(f"train.{name}" for name in later if getattr(recipe.train, name))]


def succeeded(recipe: Recipe, splits: Stored[Splits], project: Project) -> Stored[Splits]:
    """The splits with what `train.continual` and `train.corrections` add. Raises what these parts raise."""
    spec, settings, store = recipe.train, project.settings, project.store
    if not isinstance(spec, Continued):
        return splits
    corrections = None
    if spec.corrections:
        corrections = stored_corrections(locate(spec.corrections.source, settings.downloads, settings.root), store)
    rival = incumbent(recipe.name, "", settings) if spec.continual else None
    champion = weights_of(rival, recipe.name, store) if rival else None
    parent = parent_of(champion, splits, corrections, store) if champion else None
    return succeed(splits, parent, spec.continual, corrections, recipe.data, settings.seed, store)
