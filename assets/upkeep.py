"""Commands around a project: start a recipe, ask what a run would do, open the UI, look at the machine, make room."""

from pathlib import Path
from typing import Annotated

import typer

from assets.arguments import AnyName, Json, out
from supply_chain.errors import InvalidInput


def add_to(app: typer.Typer) -> None:
    """Adds the commands of this file."""
    for command in (init, explain, ui, doctor, clean):
        app.command()(command)


def init(
    name: Annotated[str, typer.Argument(metavar="NAME", help="Small letters, digits and underscores.")],
    data: Annotated[Path | None, typer.Option(help="CSV file of labelled texts; default: data/NAME.csv.")] = None,
    text: Annotated[str, typer.Option(help="Column of the texts.")] = "text",
    label: Annotated[str, typer.Option(help="Column of the labels.")] = "label",
    owner: Annotated[str, typer.Option(help="team:NAME or an e-mail address.")] = "team:mine",
    role: Annotated[list[str] | None, typer.Option(help="Who must sign before it serves; may stand twice.")] = None,
) -> None:
    """Start a specialist of your own: a recipe, a suite and, without a CSV file, rows to be replaced by yours."""
    from assets.project import Project
    from assets.show import show_started
    from assets.starter import Wish, start_recipe

    wish = Wish(name, data, text, label, owner, tuple(role or ()))
    show_started(start_recipe(wish, Project.here()), out)


def explain(recipe: AnyName = None, as_json: Json = False) -> None:
    """What a run of a recipe would make, and why, without making it."""
    from assets.definitions import read_recipes
    from assets.plan import plans
    from assets.project import Project
    from assets.show import plan_rows, show_plan
    from assets.tables import show_rows

    project = Project.here()
    recipes = [project.recipe(recipe)] if recipe else read_recipes(project)[0]
    found = plans(recipes, project)
    if as_json:
        show_rows(plan_rows([one for planned in found.values() for one in planned]), "plan", as_json, out)
        return
    for name, planned in found.items():
        show_plan(name, planned, out)


def ui(
    host: Annotated[str, typer.Option(help="Address to listen at; Dagster asks nobody for a password.")] = "127.0.0.1",
    port: Annotated[int, typer.Option(min=1, max=65535)] = 3000,
) -> None:
    """Open the assets and runs in the Dagster UI, with the daemon of schedules and sensors; edited recipes appear."""
    from assets.project import Project
    from assets.ui import serve

    raise typer.Exit(serve(Project.here(), host, port))


def doctor(as_json: Json = False) -> None:
    """Whether this machine has what a run needs, and what to do where it has not."""
    from assets.doctor import examine
    from assets.project import Project
    from assets.show import finding_rows
    from assets.tables import show_rows

    findings = examine(Project.here())
    show_rows(finding_rows(findings), "findings", as_json, out)
    if any(finding.cure for finding in findings):
        raise typer.Exit(1)


def clean(
    days: Annotated[float, typer.Option(min=0, help="Keep what is younger.")] = 30,
    yes: Annotated[bool, typer.Option("--yes", help="Remove it; without this, it is only listed.")] = False,
    as_json: Json = False,
) -> None:
    """Remove stored objects that no asset and no release needs; a champion's bytes always stay."""
    import dagster as dg

    from assets.project import Project
    from assets.retention import leftovers, remove
    from assets.runs import busy
    from assets.show import leftover_rows
    from assets.tables import show_rows

    project = Project.here()
    project.dagster_home()
    found = leftovers(project, days)
    if found or as_json:
        show_rows(leftover_rows(found), "leftovers", as_json, out)
    total = f"{len(found)} folders, {sum(one.size_bytes for one in found) / 1e6:,.1f} MB"
    if yes:
        with dg.DagsterInstance.get() as instance:
            working = busy(instance)
        if working:
            raise InvalidInput(f"{', '.join(sorted(working))} runs now and may need them: clean up when it is done")
        remove(found, project)
    if not as_json:
        out.print(f"{'removed' if yes else 'would remove (--yes does it)'}: {total}")
