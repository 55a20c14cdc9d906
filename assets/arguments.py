"""What several commands take, and how a shell completes it."""

from typing import Annotated

import typer
from rich.console import Console

out = Console(highlight=False)


def recipe_names(incomplete: str) -> list[str]:
    """Recipes that start like this, for the shell's completion."""
    from supply_chain.recipe.files import find_recipes
    from supply_chain.settings import load_settings

    return [path.stem for path in find_recipes(load_settings().recipes) if path.stem.startswith(incomplete)]


Json = Annotated[bool, typer.Option("--json", help="Machine-readable output on standard output.")]
Name = Annotated[str, typer.Argument(metavar="RECIPE", help="A recipe's name or file.", autocompletion=recipe_names)]
AnyName = Annotated[
    str | None, typer.Argument(metavar="[RECIPE]", help="Name or file; default: all.", autocompletion=recipe_names)
]
