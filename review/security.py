"""Who sends a request, and whether it is one that a page of ours made."""

import ipaddress
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import parse_qsl, urlsplit

from fastapi import HTTPException, Request, Response
from pydantic import AwareDatetime, BaseModel

from registry.lifecycle import Desk
from review import lines
from review.accounts import Account, Accounts
from review.judgements import now
from review.sessions import Attempts, Session, Sessions
from supply_chain.errors import InvalidInput

COOKIE = "supply_chain_review"
_MOST_BYTES, _MOST_FIELDS = 64 * 1024, 50
HEADERS = {
    "Content-Security-Policy": "default-src 'none'; style-src 'self'; script-src 'self'; img-src 'self'; "
    "form-action 'self'; base-uri 'none'; frame-ancestors 'none'",
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Referrer-Policy": "same-origin",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Permissions-Policy": "camera=(), microphone=(), geolocation=()",
    "Cache-Control": "no-store",
}


class Audited(BaseModel):
    """One line of the audit log."""

    when: AwareDatetime
    who: str
    address: str
    what: str
    about: str


@dataclass(frozen=True)
class Door:
    """How people get in: by password or, from the addresses in `proxies`, by a header that a proxy sets."""

    desk: Desk
    accounts: Accounts
    proxies: tuple[str, ...] = ()
    header: str | None = None
    tls: bool = False
    """Whether browsers come by https; then the cookie never travels without."""
    sessions: Sessions = field(default_factory=Sessions)
    attempts: Attempts = field(default_factory=Attempts)

    def __post_init__(self) -> None:
        if bool(self.header) != bool(self.proxies):
            raise InvalidInput("an identity header counts only from a proxy: give both --identity-header and --proxy")
        for proxy in self.proxies:
            try:
                ipaddress.ip_network(proxy)
            except ValueError:
                raise InvalidInput(f"--proxy {proxy}: expected an address or network, such as 10.0.0.5") from None

    @property
    def audit_path(self) -> Path:
        """The audit log's file."""
        return self.desk.settings.home / "review" / "audit.jsonl"

    def note(self, request: Request, who: str, what: str, about: str = "") -> None:
        """Writes a line into the audit log."""
        lines.append(
            self.audit_path, Audited(when=now(), who=who[:80], address=self.address(request), what=what, about=about)
        )

    def address(self, request: Request) -> str:
        """Where a request is from; a proxy of ours is believed about the last hop before it."""
        direct = request.client.host if request.client else "unknown"
        hops = request.headers.get("x-forwarded-for", "").split(",")
        return hops[-1].strip()[:45] if self._trusts(direct) and hops[-1].strip() else direct

    def session(self, request: Request) -> Session | None:
        """The session whose cookie, made here, the request brings."""
        return self.sessions.find(request.cookies.get(COOKIE, ""))

    def known(self, request: Request) -> tuple[str, Account] | None:
        """The person behind a request and their account as it is now, or None."""
        name = self._vouched(request)
        session = self.session(request)
        if name is None and session is not None and not self.header:
            name = session.user
        account = self.accounts.all().get(name) if name else None
        return (name, account) if name and account else None

    def hand_cookie(self, response: Response, session: Session) -> None:
        """Gives the browser a session's id: not for scripts, not for requests that other sites start."""
        response.set_cookie(COOKIE, session.id, httponly=True, samesite="strict", secure=self.tls, path="/")

    def _vouched(self, request: Request) -> str | None:
        direct = request.client.host if request.client else ""
        return request.headers.get(self.header) if self.header and self._trusts(direct) else None

    def _trusts(self, address: str) -> bool:
        try:
            found = ipaddress.ip_address(address)
        except ValueError:
            return False
        return any(found in ipaddress.ip_network(proxy) for proxy in self.proxies)


async def form_of(request: Request) -> dict[str, str]:
    """A posted form. Raises HTTPException for one that is too large or no form."""
    if not request.headers.get("content-type", "").startswith("application/x-www-form-urlencoded"):
        raise HTTPException(415, "This is not a form of ours.")
    body = b""
    async for chunk in request.stream():
        body += chunk
        if len(body) > _MOST_BYTES:
            raise HTTPException(413, "That is more than this form takes.")
    try:
        return dict(parse_qsl(body.decode(), keep_blank_values=True, max_num_fields=_MOST_FIELDS, errors="strict"))
    except ValueError:
        raise HTTPException(400, "This form cannot be read.") from None


def check_origin(request: Request) -> None:
    """Raises HTTPException for a request that another site's page started."""
    origin, site = request.headers.get("origin"), request.headers.get("sec-fetch-site", "same-origin")
    if site not in ("same-origin", "none") or (origin and urlsplit(origin).netloc != request.headers.get("host")):
        raise HTTPException(403, "This request came from another site's page. Open the page here and try again.")


async def with_headers(request: Request, proceed: Callable[[Request], Awaitable[Response]]) -> Response:
    """Adds the security headers; a page that has its own policy keeps it."""
    response = await proceed(request)
    for name, value in HEADERS.items():
        response.headers.setdefault(name, value)
    return response
