"""A recipe: one YAML file that states every decision about one specialist."""

from supply_chain.recipe.files import find_recipes
from supply_chain.recipe.load import load_recipe
from supply_chain.recipe.schema import Recipe

__all__ = ["Recipe", "find_recipes", "load_recipe"]
