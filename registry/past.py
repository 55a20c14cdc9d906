"""What happened and what was live: the decision log, read and verified."""

from datetime import datetime
from typing import Any

from registry.aliases import drift
from registry.decisions import Approved, Decided, Declined, Log, Logged, Published, standings
from registry.generations import PublishedManifest, check, check_heads, history, links
from registry.lifecycle import champions_of
from registry.server import retried
from registry.verification import model_of
from supply_chain.errors import CorruptData, EvidenceMismatch
from supply_chain.settings import Settings
from supply_chain.store import Store


def verified_log(settings: Settings) -> list[Logged]:
    """The decision log, after every generation was read in full and compared with it. Raises CorruptData."""
    log = Log(settings.home).entries()
    check(settings, links(settings, trust=False), log)
    check_heads(history(settings), log)
    return log


def log_rows(log: list[Logged], model: str | None = None) -> list[dict[str, Any]]:
    """One row a decision, oldest first; with `model`, its own and the generations that carried them."""
    return [
        {
            "entry": logged.entry.entry,
            "time": f"{logged.entry.time:%Y-%m-%d %H:%M:%S}Z",
            "who": logged.entry.who,
            "what": _sentence(logged.entry.what),
            "why": logged.entry.why,
            "evidence": _evidence(logged.entry.what),
        }
        for logged in log
        if model is None or (not isinstance(logged.entry.what, Published) and logged.entry.what.model == model)
    ]


def live_at(moment: datetime, settings: Settings) -> PublishedManifest | None:
    """The generation in force at `moment`, or None. Raises CorruptData when the past was edited."""
    before = [logged for logged in verified_log(settings) if logged.entry.time <= moment]
    for logged in reversed(before):
        if isinstance(logged.entry.what, Published):
            return history(settings)[logged.entry.what.generation - 1]
    return None


def live_rows(found: PublishedManifest, settings: Settings) -> list[dict[str, Any]]:
    """One row a model of a generation, with the decision that made it champion."""
    log = Log(settings.home).entries()[: found.manifest.decisions.entries]
    decided = {name: standing.decided for name, standing in standings(log).items()}
    rows = []
    for model in found.manifest.models:
        logged = decided.get(model.name, {}).get(model.mlflow.version)
        rows.append(
            {
                "model": model.name,
                "version": model.mlflow.version,
                "artifact": model.artifact.sha256[:12],
                "since": f"{logged.entry.time:%Y-%m-%d %H:%M:%S}Z" if logged else "",
                "who": logged.entry.who if logged else "",
                "why": logged.entry.why if logged else "",
            }
        )
    return rows


def verify_all(settings: Settings, store: Store) -> tuple[int, int, int]:
    """Counts of champions, decisions and generations, all read in full.

    Raises CorruptData for the past, EvidenceMismatch that names every champion whose bytes are not
    those that were judged and every alias in MLflow that the log does not bear out.
    """
    log = verified_log(settings)
    now, faults = standings(log), []
    for live in champions_of(now):
        try:
            model_of(live, store, settings, trust=False)
        except (CorruptData, EvidenceMismatch) as error:
            faults.append(str(error))
    faults += retried(settings, lambda client: drift(client, now))
    if faults:
        raise EvidenceMismatch(f"{len(faults)} faults:\n" + "\n".join(f"  {fault}" for fault in faults))
    return len(champions_of(now)), len(log), len(links(settings))


def _sentence(what: Decided) -> str:
    if isinstance(what, Published):
        return f"published generation {what.generation}"
    if isinstance(what, Declined):
        return f"declined {what.model} version {what.version} as {what.role}"
    if isinstance(what, Approved):
        waived = f", waiving {'; '.join(what.waivers)}" if what.waivers else ""
        return f"signed {what.model} version {what.version} as {what.role} until {what.expires:%Y-%m-%d}{waived}"
    replaced = f" in place of version {what.replaced}" if what.replaced and what.replaced != what.version else ""
    words = {"promote": "promoted", "rollback": "rolled back to", "retire": "retired"}
    return f"{words[what.action]} {what.model} version {what.version}{replaced if what.action != 'retire' else ''}"


def _evidence(what: Decided) -> str:
    if isinstance(what, Published):
        return what.sha256[:12]
    if isinstance(what, Approved | Declined):
        return what.release[:12]
    return what.claims.key[:12] if what.claims else ""
