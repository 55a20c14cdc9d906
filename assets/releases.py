"""Commands about releases: who serves, since when, decided by whom."""

from datetime import UTC, datetime
from typing import Annotated, Any

import typer

from assets.arguments import AnyName, Json, out, recipe_names
from supply_chain.errors import InvalidInput

Model = Annotated[str, typer.Argument(metavar="RECIPE", help="The recipe's name.", autocompletion=recipe_names)]
Moment = Annotated[str, typer.Argument(metavar="TIME", help="2026-11-22T09:30; local unless it says +00:00.")]
Version = Annotated[int | None, typer.Option(help="A registered version.")]
Why = Annotated[str, typer.Option(help="The reason, for the decision log.")]
By = Annotated[str | None, typer.Option(help="Who decides; default: the account that runs this.")]


def add_to(app: typer.Typer) -> None:
    """Adds the commands of this file."""
    for command in (promote, approve, canary, rollback, retire, publish, history, at, verify):
        app.command()(command)


def promote(recipe: Model, version: Version = None, why: Why = "", by: By = None) -> None:
    """Make a version champion (default: the challenger); its evidence is verified again."""
    desk = _desk()
    wanted = _version(desk, recipe, version)
    done = desk.promote(wanted, _act(by, why or wanted.headline))
    out.print(f"{done.name} version {done.version} is champion")
    _show_in_force(desk)


def approve(
    recipe: Model,
    role: Annotated[str, typer.Option(help="The role that you sign for.")],
    why: Why,
    version: Version = None,
    by: By = None,
    waive: Annotated[list[str] | None, typer.Option(help="What you know to be missing; may stand twice.")] = None,
) -> None:
    """Sign a version (default: the challenger) for a role that its recipe asks for."""
    desk = _desk()
    done = desk.approve(_version(desk, recipe, version), role, _act(by, why), waive)
    out.print(f"{recipe} version {done.version} is signed for {role} until {done.expires:%Y-%m-%d}")


def canary(
    recipe: Model,
    share: Annotated[float, typer.Option(help="Of the champion's requests; 0 ends it.")],
    why: Why,
    version: Version = None,
    by: By = None,
) -> None:
    """Give a version (default: the challenger) a share of the champion's requests."""
    desk = _desk()
    done = desk.canary(_version(desk, recipe, version), share, _act(by, why))
    out.print(f"{recipe} version {done.version} gets {share:.0%} of the requests")
    _show_in_force(desk)


def rollback(recipe: Model, why: Why, version: Version = None, by: By = None) -> None:
    """Return to the champion before, or to an earlier one."""
    desk = _desk()
    done = desk.rollback(recipe, _act(by, why), version)
    out.print(f"{recipe} version {done.version} is champion again, in place of version {done.replaced}")
    _show_in_force(desk)


def retire(recipe: Model, why: Why, version: Version = None, by: By = None) -> None:
    """Take a version (default: the champion) out of the fleet for good."""
    desk = _desk()
    done = desk.retire(recipe, _act(by, why), version)
    out.print(f"{recipe} version {done.version} is retired")
    _show_in_force(desk)


def publish() -> None:
    """Bring manifest and MLflow up to the decision log; finishes what a killed command left."""
    desk = _desk()
    desk.publish()
    _show_in_force(desk)


def history(recipe: AnyName = None, as_json: Json = False) -> None:
    """Who decided what, when and why; verifies the log and every generation against each other."""
    from assets.tables import show_rows
    from registry.past import log_rows, verified_log

    settings = _desk().settings
    show_rows(log_rows(verified_log(settings), recipe), "decisions", as_json, out)


def at(time: Moment, as_json: Json = False) -> None:
    """What was live at a time."""
    from assets.tables import show_rows
    from registry.past import live_at, live_rows

    settings = _desk().settings
    found = live_at(_moment(time), settings)
    if found is None:
        raise InvalidInput(f"nothing was live at {time}: supply-chain history shows what happened since")
    if not as_json:
        out.print(f"generation {found.manifest.generation} ({found.sha256[:12]})")
    show_rows(live_rows(found, settings), "live models", as_json, out)


def verify() -> None:
    """Read every byte of every champion again, the log, all generations and MLflow's aliases."""
    from registry.past import verify_all

    desk = _desk()
    champions, entries, generations = verify_all(desk.settings, desk.store)
    out.print(f"intact: {champions} champions, {entries} decisions, {generations} generations; MLflow agrees")


def _desk() -> Any:
    from assets.project import Project

    return Project.here().desk


def _version(desk: Any, recipe: str, version: int | None) -> Any:
    from registry.release import releases

    found = [r for r in releases(desk.settings) if r.name == recipe]
    wanted = [r for r in found if r.version == version or (version is None and "challenger" in r.aliases)]
    if not wanted:
        there = ", ".join(f"{r.version} ({', '.join(r.aliases) or 'no part'})" for r in found) or "none"
        asked = f"version {version}" if version else "challenger"
        raise InvalidInput(f"{recipe} has no {asked}; its versions: {there}")
    return wanted[0]


def _act(by: str | None, why: str) -> Any:
    from registry.decisions import Act, whoami

    return Act(by or whoami(), why)


def _moment(text: str) -> datetime:
    try:
        return datetime.fromisoformat(text).astimezone(UTC)
    except ValueError:
        raise InvalidInput(f"{text!r} is not a time; expected for example 2026-11-22T09:30 or …+00:00") from None


def _show_in_force(desk: Any) -> None:
    from registry.generations import CURRENT, folder

    out.print(f"in force: {folder(desk.settings) / CURRENT}", soft_wrap=True)
