"""What the command line shows: tables of strings, and the end of a run."""

import sys

from rich.console import Console
from rich.markup import escape

from assets.doctor import Finding
from assets.plan import Planned
from assets.project import Project
from assets.retention import Leftover
from assets.run import latest
from assets.starter import Started
from assets.tables import Rows, table
from evals.table import contestant_rows
from registry.gate import Decision
from registry.generations import CURRENT, PublishedManifest, history
from registry.release import Release, releases
from supply_chain.data.diff import DataDiff
from supply_chain.recipe import Recipe
from supply_chain.records import Curated
from supply_chain.store import Stored


def show_outcome(recipe: Recipe, project: Project, out: Console) -> None:
    """The scorecard, the decision with its reasons, where everything is, and what to type next."""
    card, decision, report = (latest(recipe.name, name, project) for name in ("scorecard", "decision", "report"))
    out.print()
    out.print(table(contestant_rows(card.record), f"{recipe.name}: {card.record.rows} test rows"))
    _show_decision(decision, out)
    version = next(r for r in releases(project.settings) if r.tags.get("decision.key") == decision.key)
    generation = history(project.settings)[-1].manifest.generation
    places = {
        "report": report.path / "report.html",
        "MLflow": f"{version.name} version {version.version} ({', '.join(version.aliases)}) in "
        f"{project.settings.tracking_uri}",
        "manifest": f"{project.settings.home / 'manifests' / CURRENT} (generation {generation})",
    }
    waits = project.desk.waits(version) if version.promoted else None
    if waits:
        out.print(f"  {escape(waits)}", soft_wrap=True)
    for name, place in places.items():
        out.print(f"  {name:<9}{escape(str(place))}", soft_wrap=True)
    first = "supply-chain review" if waits else "make ui"
    steps = (first, f"supply-chain report {recipe.name}", "supply-chain models", "edit the recipe, run again")
    out.print(f"\nNext: {'  ·  '.join(steps)}", soft_wrap=True)


def show_diff(diff: DataDiff, as_json: bool, out: Console) -> None:
    """Rows added, removed and relabelled, and the drift between two data sets."""
    if as_json:
        sys.stdout.write(diff.model_dump_json(indent=2) + "\n")
        return
    out.print(f"unchanged {diff.unchanged}  added {diff.added}  removed {diff.removed}  relabelled {diff.relabelled}")
    drifts = {"labels": diff.label_drift, "lengths": diff.length_drift, "words": diff.vocabulary_drift}
    out.print("drift (0 to 1): " + "  ".join(f"{name} {value:.3f}" for name, value in drifts.items()))
    for title, rows in (
        ("added", diff.added_rows),
        ("removed", diff.removed_rows),
        ("relabelled", diff.relabelled_rows),
    ):
        if rows:
            out.print(table([row.model_dump() for row in rows], title))


def data_rows(project: Project) -> Rows:
    """One row a curated data set."""
    return [
        {
            "key": stored.key[:12],
            "source": stored.record.source,
            "read": stored.record.rows_read,
            "kept": stored.record.rows_kept,
        }
        for stored in project.store.all(Curated)
    ]


def plan_rows(planned: list[Planned]) -> Rows:
    """One row an asset of a run to come."""
    return [{"asset": one.asset, "run": "yes" if one.why else "no", "why": one.why or "unchanged"} for one in planned]


def show_plan(name: str, planned: list[Planned], out: Console) -> None:
    """A run to come, as git shows a change: `+` is made first, `~` anew, and what stays is only named."""
    due = [one for one in planned if one.why]
    if not due:
        out.print(f"{name}: nothing to make, {len(planned)} assets are up to date")
        return
    out.print(f"[bold]{name}[/]: {len(due)} of {len(planned)} assets to make")
    width = max(len(_short(one, name)) for one in due)
    for one in due:
        mark = "[yellow]~[/]" if one.known else "[green]+[/]"
        out.print(f"  {mark} {escape(_short(one, name)):<{width}}  {escape(str(one.why))}", soft_wrap=True)
    stay = ", ".join(_short(one, name) for one in planned if not one.why)
    if stay:
        out.print(f"  = {escape(stay)}", soft_wrap=True)


def _short(one: Planned, name: str) -> str:
    return one.asset.removeprefix(f"{name}/")


def show_started(started: Started, out: Console) -> None:
    """What `init` wrote, what it saw in the data, and what to do next."""
    for what, path in (("recipe", started.recipe), ("suite", started.suite), ("data", started.data)):
        out.print(f"{what:<7} {escape(str(path))}", soft_wrap=True)
    name, labels = started.recipe.stem, started.labels
    if labels:
        seen = ", ".join(f"{label} {rows:,}" for label, rows in labels.most_common(8))
        out.print(f"        {sum(labels.values()):,} rows, {len(labels)} labels: {escape(seen)}", soft_wrap=True)
    else:
        out.print("        four made-up rows: put your own there, with the same two columns, then go on")
    steps = f"say in the recipe what mistakes cost  ·  supply-chain explain {name}  ·  supply-chain run {name}"
    out.print(f"\nNext: {steps}", soft_wrap=True)


def finding_rows(findings: list[Finding]) -> Rows:
    """One row for each thing that `doctor` looked at."""
    return [{"what": one.what, "found": one.found, "to do": one.cure or ""} for one in findings]


def leftover_rows(found: list[Leftover]) -> Rows:
    """One row a folder that may go, largest first."""
    return [
        {"kind": one.kind, "key": one.path.name[:12], "MB": round(one.size_bytes / 1e6, 1), "days": round(one.days, 1)}
        for one in found
    ]


def model_rows(project: Project) -> Rows:
    """One row a registered version."""
    return [
        {
            "model": found.name,
            "version": found.version,
            "aliases": ", ".join(found.aliases),
            "quality": _quality(found),
            "decision": found.headline,
            "created": f"{found.created:%Y-%m-%d %H:%M}",
            "artifact": found.digests["artifact"][:12],
        }
        for found in releases(project.settings)
    ]


def manifest_rows(generations: list[PublishedManifest]) -> Rows:
    """One row a generation, newest first."""
    return [
        {
            "generation": g.manifest.generation,
            "models": ", ".join(f"{m.name} v{m.mlflow.version}" for m in g.manifest.models),
            "sha256": g.sha256[:12],
        }
        for g in reversed(generations)
    ]


def _show_decision(decision: Stored[Decision], out: Console) -> None:
    out.print(f"\n[bold]{escape(decision.record.headline)}[/]")
    for check in decision.record.checks:
        out.print(f"  {'[green]✓[/]' if check.passed else '[red]✗[/]'} {escape(check.sentence)}", soft_wrap=True)
    out.print()


def _quality(found: Release) -> str:
    quality = found.quality
    return f"{quality.metric} {quality.mean:.3f} [{quality.low:.3f}, {quality.high:.3f}]" if quality else "unknown"
