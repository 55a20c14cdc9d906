"""The fleet page: every specialist, filtered and sorted on the server."""

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from fastapi import Depends, FastAPI, Response

from review.fleet import GATES, Specialist, specialists

if TYPE_CHECKING:
    from review.app import App, Visitor

SORTS: dict[str, Callable[[Specialist], Any]] = {
    "name": lambda one: one.name,
    "age": lambda one: -(one.age_days or -1.0),
    "quality": lambda one: one.quality.low if one.quality else 2.0,
    "cost": lambda one: -(-1.0 if one.usd_per_month is None else one.usd_per_month),
    "waiting": lambda one: -len(one.waits),
}
"""What needs looking at comes first: the oldest, the worst, the dearest, the longest list of signatures."""


def chosen(found: list[Specialist], words: str, gate: str, sort: str) -> list[Specialist]:
    """Those with every word in name, owner or task and the gate state asked for, in order."""
    wanted = words.casefold().split()
    kept = [
        one
        for one in found
        if all(word in f"{one.name} {one.owner} {one.task}".casefold() for word in wanted)
        and (gate not in {*GATES, "waiting", "stale", "drift"} or _is(one, gate))
    ]
    return sorted(kept, key=lambda one: (SORTS.get(sort, SORTS["name"])(one), one.name))


def _is(one: Specialist, gate: str) -> bool:
    if gate == "drift":
        return one.drift is not None and one.drift.drifted
    return one.stale if gate == "stale" else bool(one.waits) if gate == "waiting" else one.gate == gate


def add_to(web: FastAPI, app: "App") -> None:
    """Adds the page to the application."""

    @web.get("/fleet")
    def fleet(q: str = "", gate: str = "", sort: str = "name", visitor: "Visitor" = Depends(app.visitor)) -> Response:  # noqa: B008
        found = specialists(app.desk.settings)
        return app.page(
            "fleet",
            visitor,
            rows=chosen(found, q[:200], gate, sort),
            total=len(found),
            asked={"q": q[:200], "gate": gate, "sort": sort},
            gates=[*GATES, "waiting", "stale", "drift"],
            sorts=list(SORTS),
        )
