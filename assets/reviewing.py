"""Commands for the people who review: the web pages, and who may open them."""

import sys
from pathlib import Path
from typing import Annotated

import typer

from assets.arguments import out
from supply_chain.errors import InvalidInput

AccountsFile = Annotated[Path | None, typer.Option("--accounts", help="Default: review/accounts.json in the home.")]
_LOOPBACK = ("127.0.0.1", "::1", "localhost")


def add_to(app: typer.Typer) -> None:
    """Adds the commands of this file."""
    for command in (review, reviewer):
        app.command()(command)


def review(
    host: Annotated[str, typer.Option(help="Address to listen at.")] = "127.0.0.1",
    port: Annotated[int, typer.Option(min=1, max=65535)] = 8700,
    accounts: AccountsFile = None,
    proxy: Annotated[list[str] | None, typer.Option(help="Address or network of a proxy that is believed.")] = None,
    identity_header: Annotated[str | None, typer.Option(help="Header in which that proxy names the person.")] = None,
    name: Annotated[list[str] | None, typer.Option(help="Host name that browsers use; may stand twice.")] = None,
    tls: Annotated[bool, typer.Option("--tls", help="Browsers come by https, through a proxy.")] = False,
) -> None:
    """Serve the review and fleet pages: experts decide cases and sign versions off."""
    import uvicorn

    from assets.project import Project
    from review.accounts import Accounts
    from review.app import create_app
    from review.security import Door

    if host not in _LOOPBACK and not tls:
        raise InvalidInput(f"passwords would cross the network unencrypted at {host}: put a TLS proxy before it, --tls")
    project = Project.here()
    path = _accounts(accounts)
    people = Accounts(path)
    people.all()
    door = Door(project.desk, people, tuple(proxy or ()), identity_header, tls)
    served = create_app(door, [*(name or ()), *_LOOPBACK])
    out.print(f"http://{host}:{port} (stop with Ctrl-C)", soft_wrap=True)
    uvicorn.run(served, host=host, port=port, log_level="warning", server_header=False, proxy_headers=False)


def reviewer(
    name: Annotated[str, typer.Argument(metavar="NAME", help="Small letters, digits, . _ @ -")],
    role: Annotated[list[str], typer.Option(help="What this person signs for; may stand twice.")],
    accounts: AccountsFile = None,
    by_proxy: Annotated[bool, typer.Option("--by-proxy", help="No password: a proxy names this person.")] = False,
) -> None:
    """Let a person review; asks for their password, or reads it from standard input."""
    from review.accounts import MIN_PASSWORD, Account, Accounts, hashed

    password = None if by_proxy else _password()
    if password is not None and len(password) < MIN_PASSWORD:
        raise InvalidInput(f"a password has at least {MIN_PASSWORD} letters")
    path = _accounts(accounts)
    Accounts(path).add(name, Account(roles=role, password=hashed(password) if password else None))
    out.print(f"{name} may review as {', '.join(role)} ({path})", soft_wrap=True)


def _password() -> str:
    if not sys.stdin.isatty():
        return sys.stdin.readline().rstrip("\n")
    return str(typer.prompt("Password", hide_input=True, confirmation_prompt=True))


def _accounts(path: Path | None) -> Path:
    from supply_chain.settings import load_settings

    return path or load_settings().home / "review" / "accounts.json"
