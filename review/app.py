"""The web application: logging in, and everything around the pages."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

from fastapi import Depends, FastAPI, HTTPException, Request, Response
from fastapi.responses import HTMLResponse, RedirectResponse
from jinja2 import Environment, FileSystemLoader, StrictUndefined
from starlette.exceptions import HTTPException as StarletteHTTPException
from starlette.middleware.trustedhost import TrustedHostMiddleware

from evals.metrics import TITLES
from evals.table import interval, percent, usd
from review import fleet_page, pages
from review.accounts import Account
from review.security import Door, check_origin, form_of, with_headers
from review.sessions import Session
from supply_chain.errors import SupplyChainError

_HERE = Path(__file__).parent
_STYLES = (_HERE.parent / "evals/templates/report.css", _HERE / "templates/review.css")
STATIC = {"review.css": "text/css", "review.js": "text/javascript"}


@dataclass(frozen=True)
class Visitor:
    """A person who is let in, and the session that their forms belong to."""

    name: str
    account: Account
    session: Session


class Away(Exception):
    """Nobody is logged in."""


class App:
    """What the pages share."""

    def __init__(self, door: Door):
        self.door, self.desk = door, door.desk
        self.environment = Environment(
            loader=FileSystemLoader(_HERE / "templates"),
            autoescape=True,
            undefined=StrictUndefined,
            trim_blocks=True,
            lstrip_blocks=True,
        )
        self.environment.filters |= {"interval": interval, "usd": usd, "percent": percent, "metric": TITLES.__getitem__}

    def page(self, name: str, visitor: Visitor | None, status: int = 200, **values: Any) -> HTMLResponse:
        """A rendered template."""
        text = self.environment.get_template(f"{name}.html.j2").render(visitor=visitor, **values)
        response = HTMLResponse(text, status)
        if visitor is not None:
            self.door.hand_cookie(response, visitor.session)
        return response

    def message(self, status: int, text: str, visitor: Visitor | None = None) -> HTMLResponse:
        """A page that says what went wrong."""
        return self.page("message", visitor, status, title="Not possible" if status < 500 else "Error", text=text)

    def visitor(self, request: Request) -> Visitor:
        """Who asks. Raises Away."""
        known, session = self.door.known(request), self.door.session(request)
        if known is None:
            raise Away
        name, account = known
        if session is None or session.user != name:  # a proxy vouches for somebody who has no session yet
            session = self.door.sessions.start(name, instead_of=session)
        return Visitor(name, account, session)

    async def posted(self, request: Request) -> "Posted":
        """A form that a page of ours made for this person. Raises Away, HTTPException."""
        check_origin(request)
        form, session, known = await form_of(request), self.door.session(request), self.door.known(request)
        if known is None:
            raise Away
        if session is None or session.user != known[0] or not session.owns(form.pop("csrf", "")):
            self.door.note(request, known[0], "refused: form token", request.url.path)
            raise HTTPException(403, "This form is too old or not from this page. Go back, reload and try again.")
        return Posted(Visitor(*known, session), form)


@dataclass(frozen=True)
class Posted:
    """A form and who sent it."""

    visitor: Visitor
    form: dict[str, str]


def create_app(door: Door, hosts: list[str]) -> FastAPI:
    """The application. `hosts` are the names that it answers to."""
    web, app = FastAPI(docs_url=None, redoc_url=None, openapi_url=None), App(door)
    web.add_middleware(TrustedHostMiddleware, allowed_hosts=hosts)
    web.middleware("http")(with_headers)
    _entrance(web, app)
    _files(web)
    pages.add_to(web, app)
    fleet_page.add_to(web, app)

    @web.exception_handler(Away)
    def away(request: Request, error: Exception) -> Response:
        return RedirectResponse("/login", 303)

    @web.exception_handler(SupplyChainError)
    def refused(request: Request, error: Exception) -> Response:
        return app.message(409, str(error))

    @web.exception_handler(StarletteHTTPException)
    def wrong(request: Request, error: Any) -> Response:
        text = "There is no such page." if error.status_code == 404 else str(error.detail)
        return app.message(error.status_code, text)

    return web


def _entrance(web: FastAPI, app: App) -> None:
    door = app.door

    def form(request: Request, status: int = 200, fault: str = "") -> Response:
        session = door.session(request)
        session = session or door.sessions.start(None)
        response = app.page("login", None, status, fault=fault, csrf=session.csrf, proxied=bool(door.header))
        door.hand_cookie(response, session)
        return response

    @web.get("/login")
    def login(request: Request) -> Response:
        return RedirectResponse("/", 303) if door.known(request) else form(request)

    @web.post("/login")
    def enter(request: Request, posted: Annotated[dict[str, str], Depends(_anonymous)]) -> Response:
        session, name, address = door.session(request), posted.get("name", "")[:80], door.address(request)
        if session is None or not session.owns(posted.get("csrf", "")) or door.header:
            return form(request, 403, "That form was too old: please try again.")
        wait_s = door.attempts.wait_s(name, address)
        if wait_s:
            door.note(request, name, "login refused: too many failures")
            return form(request, 429, f"Too many failures. Try again in {wait_s / 60:.0f} minutes.")
        if door.accounts.check(name, posted.get("password", "")) is None:
            door.attempts.failed(name, address)
            door.note(request, name, "login failed")
            return form(request, 401, "Name and password do not fit together.")
        response = RedirectResponse("/", 303)
        door.hand_cookie(response, door.sessions.start(name, instead_of=session))
        door.note(request, name, "login")
        return response

    @web.post("/logout")
    def leave(request: Request, posted: Annotated[Posted, Depends(app.posted)]) -> Response:
        door.sessions.end(posted.visitor.session)
        door.note(request, posted.visitor.name, "logout")
        return RedirectResponse("/login", 303)


async def _anonymous(request: Request) -> dict[str, str]:
    check_origin(request)
    return await form_of(request)


def _files(web: FastAPI) -> None:
    texts = {
        "review.css": "\n".join(path.read_text(encoding="utf-8") for path in _STYLES),
        "review.js": (_HERE / "templates/review.js").read_text(encoding="utf-8"),
    }

    def serve(name: str) -> Callable[[], Response]:
        return lambda: Response(texts[name], media_type=STATIC[name])

    for name in STATIC:
        web.get(f"/static/{name}")(serve(name))
