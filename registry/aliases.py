"""Lets MLflow's aliases and tags follow the decision log, so that people and tools see it there."""

from typing import TYPE_CHECKING

from registry.decisions import Moved, Standing
from registry.release import PREDECESSOR
from registry.server import TAG, retried
from registry.versions import CANDIDATE, CHALLENGER, CHAMPION, PREVIOUS, aliases_of
from supply_chain.errors import InvalidInput
from supply_chain.identity import canonical_json
from supply_chain.settings import Settings
from supply_chain.store import write_atomically

if TYPE_CHECKING:
    from mlflow import MlflowClient

FOLLOWED = "decisions.followed"
"""The number of the last entry that MLflow shows."""


def follow(now: dict[str, Standing], settings: Settings) -> None:
    """Brings the aliases of every model that was decided upon since the last time up to the log.

    Raises Unavailable when MLflow does not answer.
    """
    path = settings.home / FOLLOWED
    known = _number(path.read_text(encoding="utf-8")) if path.exists() else 0
    last = max(map(_last, now.values()), default=0)
    late = {name: standing for name, standing in now.items() if _last(standing) > known}
    if late:
        retried(settings, lambda client: _follow_all(client, late, known))
    if last != known:
        write_atomically(path, f"{last}\n")


def _last(standing: Standing) -> int:
    return max(logged.entry.entry for logged in standing.decided.values())


def drift(client: "MlflowClient", now: dict[str, Standing]) -> list[str]:
    """Where MLflow shows something else than the log, in sentences."""
    found = []
    for name, standing in now.items():
        shown = aliases_of(client, name)
        for alias, version in ((CHAMPION, standing.champion), (PREVIOUS, standing.previous)):
            if shown.get(alias) != version:
                found.append(f"{name}: MLflow shows version {shown.get(alias)} as {alias}, the log says {version}")
    return found


def _follow_all(client: "MlflowClient", late: dict[str, Standing], known: int) -> None:
    for name, standing in late.items():
        _follow(client, name, standing, known)


def _follow(client: "MlflowClient", name: str, standing: Standing, known: int) -> None:
    for version, logged in sorted(standing.decided.items()):
        entry = logged.entry
        if entry.entry <= known or not isinstance(entry.what, Moved):
            continue
        if entry.what.action == "promote":
            _tag(client, name, version, PREDECESSOR, str(entry.what.rival or ""))
        said = {"entry": entry.entry, "sha256": logged.sha256, "action": entry.what.action}
        said.update({"who": entry.who, "why": entry.why, "time": entry.time.isoformat()})
        _tag(client, name, version, "logged", canonical_json(said))
    shown, wanted = aliases_of(client, name), {CHAMPION: standing.champion, PREVIOUS: standing.previous}
    settled = {standing.champion, *standing.line, *standing.retired}
    for alias in (CHALLENGER, CANDIDATE):
        if shown.get(alias) in settled:
            client.delete_registered_model_alias(name, alias)
    for alias, right in wanted.items():
        if right is None and alias in shown:
            client.delete_registered_model_alias(name, alias)
        elif right is not None and shown.get(alias) != right:
            client.set_registered_model_alias(name, alias, str(right))


def _tag(client: "MlflowClient", name: str, version: int, tag: str, value: str) -> None:
    client.set_model_version_tag(name, str(version), TAG + tag, value)


def _number(text: str) -> int:
    try:
        return int(text)
    except ValueError:
        raise InvalidInput(f"{FOLLOWED} holds {text[:20]!r} instead of a number: remove it") from None
