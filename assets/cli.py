"""The command line: `supply-chain`."""

import json
import logging
import sys
from pathlib import Path
from typing import Annotated, Any, NoReturn

import typer
from rich.console import Console

from assets import releases, reviewing, serving, upkeep
from assets.arguments import AnyName, Json, Name, out
from supply_chain.errors import InvalidInput, SupplyChainError

app = typer.Typer(no_args_is_help=True, pretty_exceptions_enable=False, help="Makes, judges and ships specialists.")
data_app = typer.Typer(no_args_is_help=True, help="Curated data sets.")
app.add_typer(data_app, name="data")
err = Console(stderr=True, highlight=False)
REFUSED, _INTERRUPTED = 3, 130


def main() -> None:
    """Entry point. Exit codes: 0 done, 1 failed, 2 input to mend, 3 refused by the gate, 130 interrupted."""
    logging.basicConfig(level=logging.WARNING, format="%(message)s")
    try:
        app()
    except SupplyChainError as error:
        _fail(str(error), 2 if isinstance(error, InvalidInput) else 1)
    except SystemExit as ended:
        if ended.code == _INTERRUPTED:
            _fail("stopped; what was finished is kept: run the same command again to go on", _INTERRUPTED)
        raise


@app.command()
def validate(recipe: AnyName = None) -> None:
    """Check recipes, the base-model catalogue and the fleet policy; report every fault at once."""
    from assets.project import Project
    from supply_chain.recipe import find_recipes

    project = Project.here()
    _ = project.catalogue, project.fleet
    paths = [project.recipe_path(recipe)] if recipe else find_recipes(project.settings.recipes)
    faults = []
    for path in paths:
        try:
            project.recipe(str(path))
            out.print(f"[green]valid[/] {path}")
        except InvalidInput as error:
            faults.append(str(error))
    if faults:
        _fail("\n".join(faults), 2)


@app.command()
def run(recipe: Name) -> None:
    """Run a recipe's chain: data, training, quantization, evaluation, gate, registry, manifest."""
    from assets.project import Project
    from assets.run import run_manifest, run_recipe
    from assets.show import show_outcome

    project = Project.here()
    loaded = project.recipe(recipe)
    outcome = run_recipe(loaded, project)
    gate_refused = outcome.failed is not None and outcome.failed.error == "DagsterAssetCheckFailedError"
    if outcome.failed is not None and not gate_refused:
        bad = outcome.failed.error.startswith(("Invalid", "Corrupt"))
        _fail(f"{outcome.failed.step}: {outcome.failed.message}", 2 if bad else 1)
    manifest = run_manifest(project)
    if manifest.failed is not None:
        _fail(f"{manifest.failed.step}: {manifest.failed.message}", 1)
    show_outcome(loaded, project, out)
    if gate_refused:
        raise typer.Exit(REFUSED)


@app.command()
def status(as_json: Json = False) -> None:
    """Every recipe: its champion's age, quality and cost, the last decision, whose signature is missing."""
    from assets.tables import show_rows, status_rows
    from review.fleet import specialists
    from supply_chain.settings import load_settings

    show_rows(status_rows(specialists(load_settings())), "recipes", as_json, out)


@app.command()
def models(as_json: Json = False) -> None:
    """Every registered version, newest first."""
    from assets.project import Project
    from assets.show import model_rows
    from assets.tables import show_rows

    show_rows(model_rows(Project.here()), "model versions", as_json, out)


@app.command()
def report(recipe: Name, as_json: Json = False) -> None:
    """Where a recipe's latest evaluation report is, and its summary."""
    from assets.project import Project
    from assets.run import latest

    project = Project.here()
    loaded = project.recipe(recipe)
    found = latest(loaded.name, "report", project)
    if found is None:
        raise InvalidInput(f"{loaded.name} has no report yet: supply-chain run {loaded.name}")
    if as_json:
        sys.stdout.write((found.path / "report.json").read_text(encoding="utf-8") + "\n")
    else:
        out.print((found.path / "summary.md").read_text(encoding="utf-8"), markup=False)
        out.print(f"\n{found.path / 'report.html'}", soft_wrap=True)


manifest_app = typer.Typer(help="The routing manifest in force and its generations.")
app.add_typer(manifest_app, name="manifest")


@manifest_app.callback(invoke_without_command=True)
def manifest(context: typer.Context, as_json: Json = False) -> None:
    """The routing manifest in force and its generations."""
    if context.invoked_subcommand:
        return
    from assets.project import Project
    from assets.show import manifest_rows
    from assets.tables import show_rows
    from registry.generations import CURRENT, history

    project = Project.here()
    generations = history(project.settings)
    if not generations:
        raise InvalidInput("no manifest was published yet: supply-chain run RECIPE")
    if as_json:
        sys.stdout.write(json.dumps(generations[-1].manifest.model_dump(mode="json"), indent=2) + "\n")
        return
    show_rows(manifest_rows(generations), "generations", False, out)
    out.print(f"in force: {project.settings.home / 'manifests' / CURRENT}", soft_wrap=True)


@manifest_app.command("compile")
def manifest_compile(
    target: Annotated[str, typer.Argument(help="litellm, litellm-plugin, llama-swap, ollama, vllm, kserve, …")],
    to: Annotated[Path | None, typer.Option("--out", help="A folder for the files; default: standard output.")] = None,
) -> None:
    """The manifest in force as another system's configuration; what it loses, on standard error."""
    from registry.compilers import compiler
    from registry.generations import CURRENT, folder, load_manifest
    from supply_chain.settings import load_settings
    from supply_chain.store import write_atomically

    compiled = compiler(target)(load_manifest(folder(load_settings()) / CURRENT))
    if to is None:
        sys.stdout.write(compiled.text)
    else:
        for name, text in compiled.files.items():
            write_atomically(to / name, text)
            err.print(f"wrote {_escaped(str(to / name))}", soft_wrap=True)
    for sentence in compiled.lost:
        err.print(f"[yellow]lost[/] {_escaped(sentence)}", soft_wrap=True)


@manifest_app.command("verify")
def manifest_verify(
    file: Annotated[Path | None, typer.Argument(help="Default: the manifest in force.")] = None,
    key: Annotated[Path | None, typer.Option(help="A public key (PEM); default: those of this home.")] = None,
) -> None:
    """Whether a manifest is, byte for byte, what a trusted key signed."""
    from registry.generations import CURRENT, folder
    from registry.signing import read_public, trusted, verify
    from supply_chain.settings import load_settings

    settings = load_settings()
    path = file or folder(settings) / CURRENT
    if not path.is_file():
        raise InvalidInput(f"no such file: {path}")
    found = verify(path.read_bytes(), [read_public(key)] if key else trusted(settings), str(path))
    out.print(f"generation {found.generation} of fleet {found.fleet}, signed by key {found.signature.key[:16]}")


@app.command()
def schema(write: Annotated[bool, typer.Option(help="Write recipes/recipe.schema.json.")] = False) -> None:
    """The recipe's JSON Schema, for completion in editors."""
    from supply_chain.recipe.load import schema_text
    from supply_chain.settings import load_settings
    from supply_chain.store import write_atomically

    if write:
        write_atomically(load_settings().recipes / "recipe.schema.json", schema_text())
    else:
        sys.stdout.write(schema_text())


@data_app.command("diff")
def data_diff(before: str, after: str, as_json: Json = False) -> None:
    """What changed between two curated data sets, given by their store keys (or the start of them)."""
    from assets.project import Project
    from assets.show import show_diff
    from supply_chain.data.diff import data_diff as compare

    store = Project.here().store
    show_diff(compare(_curated(before, store), _curated(after, store)), as_json, out)


@data_app.command("list")
def data_list(as_json: Json = False) -> None:
    """Every curated data set in the store, with the key that `data diff` takes."""
    from assets.project import Project
    from assets.show import data_rows
    from assets.tables import show_rows

    show_rows(data_rows(Project.here()), "data sets", as_json, out)


def _curated(start: str, store: Any) -> Any:
    from supply_chain.records import Curated

    found = [stored for stored in store.all(Curated) if stored.key.startswith(start)]
    if len(found) != 1:
        keys = ", ".join(stored.key[:12] for stored in store.all(Curated)) or "none"
        raise InvalidInput(f"{start!r} names {len(found)} curated data sets, expected one; there are: {keys}")
    return found[0]


def _fail(message: str, code: int) -> NoReturn:
    err.print(f"[bold red]error[/] {_escaped(message)}", soft_wrap=True)
    raise SystemExit(code)


def _escaped(text: str) -> str:
    from rich.markup import escape

    return escape(text)


upkeep.add_to(app)
releases.add_to(app)
reviewing.add_to(app)
serving.add_to(app)
if __name__ == "__main__":
    main()
