"""The pages: queue, version, case, sign-off."""

from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Any

from fastapi import Depends, FastAPI, HTTPException, Path, Request, Response
from fastapi.responses import HTMLResponse, RedirectResponse

from evals.records import Report
from registry.decisions import Act
from registry.release import Release, releases
from review.cases import Case, Panel, panel_of
from review.judgements import Judgement, Judgements, now, tally
from review.queue import Waiting, waiting, waiting_for
from supply_chain.data.target import canonical_target
from supply_chain.errors import EvidenceMismatch, InvalidInput

if TYPE_CHECKING:
    from review.app import App, Visitor

Model = Annotated[str, Path(pattern=r"^[a-z][a-z0-9_]{0,80}$")]
Version = Annotated[int, Path(ge=1, le=10**9)]
_MOST_TEXT = 2000
_REPORT_POLICY = "default-src 'none'; style-src 'unsafe-inline'; img-src data:; sandbox"


class Pages:
    """Reads what the pages show."""

    def __init__(self, app: "App"):
        self.app, self.desk = app, app.desk
        self.judgements = Judgements(app.desk.settings)
        self._panels: dict[str, Panel] = {}

    def release(self, name: str, version: int) -> Release:
        """A registered version. Raises HTTPException."""
        for found in releases(self.desk.settings):
            if (found.name, found.version) == (name, version):
                return found
        raise HTTPException(404)

    def waiting(self, release: Release, read_again: bool = False) -> Waiting:
        """Where a version stands. Raises HTTPException where nobody is asked."""
        found = waiting_for(release, self.desk, read_again)
        if found is None:
            raise HTTPException(404)
        return found

    def panel(self, release: Release) -> Panel:
        """A version's cases; they never change. Raises EvidenceMismatch."""
        key = release.tags["release"]
        if key not in self._panels:
            self._panels[key] = panel_of(release, self.desk.store)
        return self._panels[key]

    def report(self, release: Release) -> str:
        """The report's page, verified. Raises EvidenceMismatch, CorruptData."""
        claim = release.claims().report
        found = self.desk.store.find(Report, claim.key)
        if found is None or found.digest != claim.digest:
            raise EvidenceMismatch("the report is not the one that belongs to this version: run the recipe again")
        return (found.verify().path / "report.html").read_text(encoding="utf-8")

    def undecided(self, panel: Panel, who: str) -> int | None:
        """The first case that a reviewer has not decided, from 1; None when they are done."""
        done = self.judgements.of(panel.release)
        return next((n for n, case in enumerate(panel.cases, 1) if (who, case.id) not in done), None)


@dataclass(frozen=True)
class At:
    """One case of a version."""

    release: Release
    panel: Panel
    number: int

    @property
    def case(self) -> Case:
        """The case itself."""
        return self.panel.cases[self.number - 1]

    @property
    def url(self) -> str:
        """The version's address."""
        return f"/models/{self.release.name}/{self.release.version}"


def add_to(web: FastAPI, app: "App") -> None:
    """Adds the pages to the application."""
    pages = Pages(app)
    _reading(web, app, pages)
    _deciding(web, app, pages)
    _signing(web, app, pages)


def _reading(web: FastAPI, app: "App", pages: Pages) -> None:
    asks: Any = Depends(app.visitor)

    @web.get("/")
    def queue(visitor: "Visitor" = asks) -> Response:
        return app.page("queue", visitor, waiting=waiting(app.desk))

    @web.get("/models/{name}/{version}")
    def version(name: Model, version: Version, visitor: "Visitor" = asks) -> Response:
        release = pages.release(name, version)
        one = pages.waiting(release)
        panel, missing = None, ""
        try:
            panel = pages.panel(release)
        except EvidenceMismatch as error:
            missing = str(error)
        asked = one.decision.policy.approval.roles if one.decision and one.decision.policy.approval else []
        mine = [role for role in asked if role in visitor.account.roles]
        values: dict[str, Any] = {"one": one, "panel": panel, "no_panel": missing, "mine": mine, "asked": asked}
        if panel is not None:
            judged = pages.judgements.of(panel.release)
            values["left"] = sum((visitor.name, case.id) not in judged for case in panel.cases)
            values["tally"] = tally(panel, judged.values())
        return app.page("version", visitor, **values)

    @web.get("/models/{name}/{version}/report")
    def report(name: Model, version: Version, visitor: "Visitor" = asks) -> Response:
        return HTMLResponse(
            pages.report(pages.release(name, version)), headers={"Content-Security-Policy": _REPORT_POLICY}
        )


def _deciding(web: FastAPI, app: "App", pages: Pages) -> None:
    asks, posts = Depends(app.visitor), Depends(app.posted)

    def at(name: str, version: int, number: int) -> At:
        release = pages.release(name, version)
        pages.waiting(release)
        panel = pages.panel(release)
        if number > len(panel.cases):
            raise HTTPException(404)
        return At(release, panel, number)

    @web.get("/models/{name}/{version}/cases")
    def first(name: Model, version: Version, visitor: "Visitor" = asks) -> Response:
        here = at(name, version, 1)
        number = pages.undecided(here.panel, visitor.name)
        return RedirectResponse(f"{here.url}/cases/{number}" if number else here.url, 303)

    @web.get("/models/{name}/{version}/cases/{number}")
    def case(name: Model, version: Version, number: Version, visitor: "Visitor" = asks) -> Response:
        return show(at(name, version, number), visitor)

    @web.post("/models/{name}/{version}/cases/{number}")
    def decide(request: Request, name: Model, version: Version, number: Version, posted: Any = posts) -> Response:
        here, form, who = at(name, version, number), posted.form, posted.visitor.name
        try:
            label = picked(here, form, who)
        except InvalidInput as error:
            return show(here, posted.visitor, str(error))
        comment = form.get("comment", "").strip()[:_MOST_TEXT]
        said = Judgement(
            release=here.panel.release, case=here.case.id, who=who, when=now(), label=label, comment=comment
        )
        pages.judgements.save((name, version), here.case, said)
        app.door.note(request, who, "judged a case", f"{name} {version} {here.case.id}")
        return RedirectResponse(f"{here.url}/cases", 303)

    def show(here: At, visitor: "Visitor", fault: str = "") -> Response:
        who = visitor.name
        before = pages.judgements.of(here.panel.release).get((who, here.case.id))
        answers = here.case.answers(here.panel.release, who)
        return app.page("case", visitor, 400 if fault else 200, at=here, answers=answers, before=before, fault=fault)


def picked(at: At, form: dict[str, str], who: str) -> str | None:
    """The label that a form chooses; None for "cannot tell". Raises InvalidInput."""
    answers, pick = at.case.answers(at.panel.release, who), form.get("pick", "")
    if pick == "unsure":
        return None
    if pick in {str(n) for n in range(1, len(answers) + 1)}:
        return answers[int(pick) - 1]
    if pick != "correct":
        raise InvalidInput("Choose an answer, or give the right one.")
    label = canonical_target(at.panel.task, form.get("label", "")[:_MOST_TEXT], at.panel.labels)
    if label is None:
        known = ", ".join(at.panel.labels)
        raise InvalidInput(
            f"That is no label; expected one of: {known}"
            if at.panel.task == "classification"
            else f"Expected JSON as in the answers, with: {known}"
        )
    return label


def _signing(web: FastAPI, app: "App", pages: Pages) -> None:
    posts = Depends(app.posted)

    @web.post("/models/{name}/{version}/sign")
    def sign(request: Request, name: Model, version: Version, posted: Any = posts) -> Response:
        release, form, visitor = pages.release(name, version), posted.form, posted.visitor
        role, why = form.get("role", ""), form.get("why", "").strip()[:_MOST_TEXT]
        if role not in visitor.account.roles:
            app.door.note(request, visitor.name, "refused: not their role", f"{name} {version} {role}")
            raise HTTPException(403, f"You do not sign as {role or 'nobody'}.")
        one = pages.waiting(release, read_again=True)
        if one.fault or one.bound != form.get("bound"):
            app.door.note(request, visitor.name, "refused: changed since shown", f"{name} {version}")
            raise HTTPException(409, one.fault or "What you read has changed since. Read it again, then sign.")
        act, sign_it = Act(visitor.name, why), form.get("decision") == "sign"
        if sign_it:
            app.desk.approve(release, role, act, [w.strip() for w in form.get("waive", "").splitlines() if w.strip()])
        else:
            app.desk.decline(release, role, act)
        app.door.note(request, visitor.name, "signed" if sign_it else "declined", f"{name} {version} as {role}: {why}")
        if sign_it and app.desk.waits(release) is None:
            app.desk.promote(release, act)
            app.door.note(request, visitor.name, "promoted by the last signature", f"{name} {version}")
        return RedirectResponse(f"/models/{name}/{version}", 303)
