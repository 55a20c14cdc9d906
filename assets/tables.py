"""Tables on a terminal. Light: `status` must not wait for Dagster or MLflow to be imported."""

import json
import sys
from typing import Any, Literal

from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from evals.table import interval
from review.fleet import Specialist

Rows = list[dict[str, Any]]


def status_rows(found: list[Specialist]) -> Rows:
    """One row a recipe: what serves, how good and dear it is, what was decided last, what waits."""
    return [
        {
            "recipe": one.name,
            "champion": f"version {one.version}" if one.version else "none",
            "days": "" if one.age_days is None else f"{one.age_days:.0f}{' (stale)' if one.stale else ''}",
            "quality": f"{one.metric} {interval(one.quality)}" if one.quality else "",
            "$ a month": "" if one.usd_per_month is None else f"{one.usd_per_month:,.0f}",
            "in service": one.drift.sentence if one.drift else "",
            "last decision": one.headline or one.gate,
            "waits for": ", ".join(one.waits),
        }
        for one in found
    ]


def show_rows(rows: Rows, title: str, as_json: bool, out: Console) -> None:
    """Rows as a table, or as a JSON array."""
    if as_json:
        sys.stdout.write(json.dumps(rows, indent=2) + "\n")
    elif rows:
        out.print(table(rows, title))
    else:
        out.print(f"no {title} yet: supply-chain run RECIPE")


def table(rows: Rows, title: str) -> Table:
    """Rows of equal keys; texts are escaped, names are not broken, columns without any value are left out."""
    made = Table(title=escape(title), title_justify="left", box=SIMPLE_HEAD, pad_edge=False)
    one_word = all(" " not in str(next(iter(row.values()))) for row in rows)
    names = [name for name in rows[0] if any(row[name] not in ("", None) for row in rows)]
    for name in names:
        justify: Literal["left", "right"] = "left" if isinstance(rows[0][name], str) else "right"
        made.add_column(escape(name), justify=justify, overflow="fold", no_wrap=name == names[0] and one_word)
    for row in rows:
        made.add_row(*(escape(str(row[name])) for name in names))
    return made
