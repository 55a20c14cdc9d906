"""What every asset works with: settings, store, catalogue and fleet policy of one project."""

import os
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from registry.fleet import Fleet, load_fleet
from registry.lifecycle import Desk
from supply_chain.catalogue import Catalogue, load_catalogue
from supply_chain.errors import InvalidInput
from supply_chain.recipe import Recipe, find_recipes, load_recipe
from supply_chain.settings import Settings, load_settings
from supply_chain.store import Store, write_atomically

_DAGSTER_YAML = """\
telemetry: {enabled: false}
nux: {enabled: false}
run_monitoring: {enabled: true}
concurrency:
  runs:
    tag_concurrency_limits:
      - {key: supply_chain/recipe, limit: 1, value: {applyLimitPerUniqueValue: true}}
"""


@dataclass(frozen=True)
class Project:
    """One project; everything else is read when it is first needed."""

    settings: Settings

    @classmethod
    def here(cls) -> "Project":
        """The project that the environment and `settings.toml` describe."""
        return cls(load_settings())

    @cached_property
    def store(self) -> Store:
        """Where made things are kept."""
        return Store.of(self.settings)

    @cached_property
    def catalogue(self) -> Catalogue:
        """The base models. Raises InvalidRecipe."""
        return load_catalogue(self.settings)

    @cached_property
    def fleet(self) -> Fleet:
        """The fleet policy. Raises InvalidRecipe."""
        return load_fleet(self.settings)

    @property
    def desk(self) -> Desk:
        """Where releases are decided."""
        return Desk(self.fleet, self.settings, self.store)

    def recipe_path(self, name: str) -> Path:
        """The file of a recipe that is given by name or as a file. Raises InvalidInput."""
        if name.endswith((".yaml", ".yml")) or "/" in name:
            return Path(name)
        folder = self.settings.recipes
        known = {path.stem: path for path in find_recipes(folder)}
        if name not in known:
            raise InvalidInput(f"no recipe {name!r} in {folder}; found: {', '.join(known) or 'none'}")
        return known[name]

    def recipe(self, name: str) -> Recipe:
        """A recipe by name or file. Raises InvalidInput, InvalidRecipe with all its faults."""
        around = self.catalogue.surroundings(self.settings.root, self.settings.recipes)
        return load_recipe(self.recipe_path(name), around)

    @property
    def references(self) -> Path:
        """Where assets keep their references."""
        return self.settings.home / "references"

    def dagster_home(self) -> Path:
        """Dagster's own folder, made on first use and shared by the UI and the command line."""
        folder = Path(os.environ.get("DAGSTER_HOME") or self.settings.home / "dagster").resolve()
        if not (folder / "dagster.yaml").exists():
            write_atomically(folder / "dagster.yaml", _DAGSTER_YAML)
        os.environ["DAGSTER_HOME"] = str(folder)
        return folder
