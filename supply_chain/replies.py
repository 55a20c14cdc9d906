"""Paid answers, kept one by one: a killed run, another recipe and grown data find them again."""

import json
import sqlite3
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from supply_chain.endpoint import Reply
from supply_chain.errors import CorruptData, Unavailable
from supply_chain.identity import identity

_SCHEMA = (
    "CREATE TABLE IF NOT EXISTS replies (question TEXT, sample INTEGER, text TEXT NOT NULL, tokens_in INTEGER, "
    "tokens_out INTEGER, seconds REAL, PRIMARY KEY (question, sample)) WITHOUT ROWID"
)
_KEEP = (
    "INSERT OR IGNORE INTO replies (question, sample, text, tokens_in, tokens_out, seconds) VALUES (?, ?, ?, ?, ?, ?)"
)
_FIND = (
    "SELECT question, sample, text, tokens_in, tokens_out, seconds FROM replies "
    "WHERE question IN (SELECT value FROM json_each(?))"
)


def question_of(messages: list[dict[str, str]]) -> str:
    """Identity of what is asked."""
    return identity("question", 1, messages=messages)


@dataclass(frozen=True)
class Spent:
    """What all kept replies cost. `uncounted` of them came without a count of their tokens."""

    tokens_in: int = 0
    tokens_out: int = 0
    uncounted: int = 0

    def usd(self, per_million_in: float, per_million_out: float) -> float:
        """US dollars at these prices."""
        return (self.tokens_in * per_million_in + self.tokens_out * per_million_out) / 1e6


class Replies:
    """A SQLite file; each reply is on disk when `keep` returns. Safe for several threads."""

    def __init__(self, path: Path):
        path.parent.mkdir(parents=True, exist_ok=True)
        self.path, self.lock = path, threading.Lock()
        with self._explained():
            self.db = sqlite3.connect(path, check_same_thread=False, timeout=60)
            self.db.execute(_SCHEMA)
            if "seconds" not in [column[1] for column in self.db.execute("PRAGMA table_info(replies)")]:
                self.db.execute("ALTER TABLE replies ADD COLUMN seconds REAL")  # kept before it was timed

    def __enter__(self) -> "Replies":
        return self

    def __exit__(self, *_: object) -> None:
        self.db.close()

    def texts(self, questions: list[str]) -> dict[tuple[str, int], str]:
        """What was replied to these questions, by question and sample."""
        return {(row[0], row[1]): row[2] for row in self._rows(questions)}

    def spent(self, questions: list[str]) -> Spent:
        """What the replies to these questions cost."""
        rows = self._rows(questions)
        return Spent(
            sum(row[3] or 0 for row in rows),
            sum(row[4] or 0 for row in rows),
            sum(row[3] is None or row[4] is None for row in rows),
        )

    def seconds(self, questions: list[str]) -> list[float]:
        """How long the replies to these questions took, as far as they were timed."""
        return [row[5] for row in self._rows(questions) if row[5] is not None]

    def keep(self, question: str, sample: int, reply: Reply) -> None:
        """Writes one reply down."""
        values = (question, sample, reply.text, reply.tokens_in, reply.tokens_out, reply.seconds)
        with self.lock, self._explained(), self.db:
            self.db.execute(_KEEP, values)

    def _rows(self, questions: list[str]) -> list[tuple[str, int, str, int | None, int | None, float | None]]:
        with self.lock, self._explained():
            return self.db.execute(_FIND, (json.dumps(questions),)).fetchall()

    @contextmanager
    def _explained(self) -> Iterator[None]:
        try:
            yield
        except sqlite3.OperationalError as error:
            raise Unavailable(f"{self.path} (a teacher's paid answers): {error}. Make room and run again.") from error
        except sqlite3.DatabaseError as error:
            raise CorruptData(
                f"{self.path} (a teacher's paid answers) cannot be read: {error}. Restore it, or move it away to ask "
                "anew."
            ) from error
