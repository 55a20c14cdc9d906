"""The decision log: who did what to which release, when and why (`decisions.jsonl`, one entry a line).

It is the record of what is live; MLflow's aliases and the manifest follow it. Every line names the
SHA-256 of the line before, so that an edit, a removed or a swapped line shows. A line counts once it
is written and synced; a part of one, left by a full disk, never did and goes with the next entry.
`decisions.head` names the last line, so that a cut or edited end shows, too.
"""

import getpass
import os
from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from hashlib import sha256
from pathlib import Path
from typing import Annotated, Literal

from pydantic import AwareDatetime, BaseModel, ConfigDict, Field, ValidationError

from registry.evidence import Claims
from supply_chain.errors import CorruptData
from supply_chain.identity import canonical_json
from supply_chain.recipe.data import Sha256
from supply_chain.store import sync, write_atomically

FILE, HEAD = "decisions.jsonl", "decisions.head"
RELEASES = "releases"
"""The lock that every change of log, manifest or aliases holds."""


@dataclass(frozen=True)
class Act:
    """Who acts and why."""

    who: str
    why: str


class _Line(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class Moved(_Line):
    """A version became champion, or left the fleet for good."""

    action: Literal["promote", "rollback", "retire"]
    model: str
    version: int = Field(ge=1)
    replaced: int | None
    """The champion before."""
    rival: int | None = None
    """The champion that a promoted version was compared with."""
    claims: Claims | None = None
    """The evidence of a promotion."""


class Published(_Line):
    """A generation of the manifest came into force."""

    action: Literal["publish"] = "publish"
    generation: int = Field(ge=1)
    sha256: Sha256


class Approved(_Line):
    """A person signed a version for a role; counts for exactly these bytes."""

    action: Literal["approve"] = "approve"
    model: str
    version: int = Field(ge=1)
    role: str
    expires: AwareDatetime
    waivers: list[str]
    """What the person knows to be missing, in their words. It lifts no gate."""
    release: Sha256
    artifact: Sha256
    report: Sha256
    manifest_entry: Sha256
    """SHA-256 of the canonical JSON of model and route as they would be published."""


class Declined(_Line):
    """A person refused a version for a role; it waits until somebody signs for that role after all."""

    action: Literal["decline"] = "decline"
    model: str
    version: int = Field(ge=1)
    role: str
    release: Sha256


Decided = Moved | Approved | Declined | Published


class Entry(_Line):
    """One line of the log."""

    entry: int = Field(ge=1)
    previous: Sha256 | None
    time: AwareDatetime
    who: str
    why: str
    what: Annotated[Decided, Field(discriminator="action")]


@dataclass(frozen=True)
class Logged:
    """An entry and the SHA-256 of its line, which the next entry names."""

    entry: Entry
    sha256: str


_READ: dict[Path, tuple[bytes, list[Logged]]] = {}
"""What this process read before, by its bytes: only what came since is read again."""


class Log:
    """The log of one home. Whoever appends holds the release lock."""

    def __init__(self, home: Path):
        self.path, self.head = home / FILE, home / HEAD

    def entries(self) -> list[Logged]:
        """Every entry, oldest first. Raises CorruptData at the first that is not what was written."""
        data = b"".join(line + b"\n" for line in self._lines())
        known, before = _READ.get(self.path, (b"", []))
        found = list(before) if data.startswith(known) else []
        rest = data[len(known) if found else 0 :].split(b"\n")[:-1]
        for number, line in enumerate(rest, len(found) + 1):
            try:
                entry = Entry.model_validate_json(line)
            except ValidationError as error:
                raise CorruptData(f"{self._at(number)} cannot be read ({error.error_count()} faults)") from None
            if entry.entry != number or entry.previous != (found[-1].sha256 if found else None):
                raise CorruptData(f"{self._at(number)} does not follow the line before it: one of them was edited")
            found.append(Logged(entry, sha256(line).hexdigest()))
        self._check_head(found)
        _READ[self.path] = (data, list(found))
        return found

    def append(self, what: Decided, act: Act) -> Logged:
        """Writes and syncs one entry. Times never run backwards, even when the clock does."""
        past, now = self.entries(), datetime.now(UTC)
        if past:
            self._write_head(past[-1])  # a process killed between its two writes left it one behind
        entry = Entry(
            entry=len(past) + 1,
            previous=past[-1].sha256 if past else None,
            time=max(now, past[-1].entry.time) if past else now,
            who=act.who,
            why=act.why,
            what=what,
        )
        line = canonical_json(entry).encode()
        whole = sum(len(line) + 1 for line in self._lines())
        self.path.parent.mkdir(parents=True, exist_ok=True)
        with self.path.open("ab") as file:
            file.truncate(whole)
            file.write(line + b"\n")
            file.flush()
            os.fsync(file.fileno())
        sync(self.path.parent)
        logged = Logged(entry, sha256(line).hexdigest())
        self._write_head(logged)
        return logged

    def _write_head(self, last: Logged) -> None:
        head = f"{last.entry.entry} {last.sha256}\n"
        if not self.head.exists() or self.head.read_text(encoding="utf-8") != head:
            write_atomically(self.head, head)

    def _check_head(self, found: list[Logged]) -> None:
        """The head is the last entry, or the one before if a process was killed between its two writes."""
        if not self.head.exists():
            if len(found) > 1:
                raise CorruptData(f"{self.head} is missing beside {self.path}: restore both from a backup")
            return
        number, _, digest = self.head.read_text(encoding="utf-8").strip().partition(" ")
        ends = {f"{at} {logged.sha256}" for at, logged in list(enumerate(found, 1))[-2:]}
        if f"{number} {digest}" not in ends:
            raise CorruptData(
                f"{self.path} ends with entry {len(found)}, its head says entry {number} ({digest[:12]}): one of them "
                "was edited or cut. Restore both from a backup."
            )

    def _lines(self) -> list[bytes]:
        data = self.path.read_bytes() if self.path.exists() else b""
        return data.split(b"\n")[:-1]

    def _at(self, number: int) -> str:
        return f"entry {number} of {self.path} (restore the file from a backup)"


@dataclass(frozen=True)
class Standing:
    """Where the versions of one model stand, as the log says."""

    champion: int | None = None
    line: tuple[int, ...] = ()
    """Former champions that a rollback may return to, oldest first."""
    retired: frozenset[int] = frozenset()
    withdrawn: frozenset[int] = frozenset()
    """Rolled back from: only a person promotes them again."""
    claims: dict[int, Claims] = field(default_factory=dict)
    decided: dict[int, Logged] = field(default_factory=dict)
    """The last entry about each version."""

    @property
    def previous(self) -> int | None:
        """Where a rollback leads."""
        return self.line[-1] if self.line else None

    def after(self, what: Moved, logged: Logged | None = None) -> "Standing":
        """The standing once `what` has happened."""
        version = what.version
        decided = {**self.decided, version: logged} if logged else self.decided
        line = tuple(v for v in self.line if v != version)
        if what.action == "retire":
            champion = None if self.champion == version else self.champion
            return replace(self, champion=champion, line=line, retired=self.retired | {version}, decided=decided)
        if what.action == "rollback":
            left = {*self.line[self.line.index(version) + 1 :], *([self.champion] if self.champion else [])}
            line = self.line[: self.line.index(version)]
            return replace(self, champion=version, line=line, withdrawn=self.withdrawn | left, decided=decided)
        if self.champion is not None and self.champion != version:
            line = (*line, self.champion)
        claims = {**self.claims, version: what.claims} if what.claims else self.claims
        withdrawn = self.withdrawn - {version}
        return replace(self, champion=version, line=line, withdrawn=withdrawn, claims=claims, decided=decided)


def standings(log: Iterable[Logged]) -> dict[str, Standing]:
    """The standing of every model that the log names."""
    found: dict[str, Standing] = {}
    for logged in log:
        if isinstance(logged.entry.what, Moved):
            model = logged.entry.what.model
            found[model] = found.get(model, Standing()).after(logged.entry.what, logged)
    return found


def whoami() -> str:
    """The account that this process runs under."""
    try:
        return getpass.getuser()
    except (OSError, KeyError):  # an account without a name, as in some containers
        return f"uid {os.getuid()}"
