"""Sessions on the server, and how often somebody may be wrong about a password."""

import hmac
import secrets
import threading
import time
from collections import OrderedDict, deque
from collections.abc import Callable
from dataclasses import dataclass, field

Clock = Callable[[], float]
_IDLE_S, _WHOLE_S, _MOST = 3600.0, 12 * 3600.0, 10_000
_WINDOW_S = 900.0


@dataclass
class Session:
    """One browser. `user` is None before login; `csrf` goes into every form."""

    user: str | None
    began: float
    seen: float
    id: str = field(default_factory=lambda: secrets.token_urlsafe(32))
    csrf: str = field(default_factory=lambda: secrets.token_urlsafe(32))

    def owns(self, token: str) -> bool:
        """Whether a form's token is this session's."""
        return hmac.compare_digest(token.encode(), self.csrf.encode())


class Sessions:
    """Sessions by id, which only this class makes: an id that a browser brings along is never taken over."""

    def __init__(self, clock: Clock = time.monotonic):
        self._clock, self._lock = clock, threading.Lock()
        self._known: OrderedDict[str, Session] = OrderedDict()

    def start(self, user: str | None, instead_of: Session | None = None) -> Session:
        """A new session with a new id; the one before it ends, as at login."""
        now = self._clock()
        session = Session(user, now, now)
        with self._lock:
            if instead_of is not None:
                self._known.pop(instead_of.id, None)
            while len(self._known) >= _MOST:
                self._known.popitem(last=False)
            self._known[session.id] = session
        return session

    def find(self, key: str) -> Session | None:
        """A session that is not too old (an hour idle, half a day in all)."""
        now = self._clock()
        with self._lock:
            session = self._known.get(key)
            if session is None:
                return None
            if now - session.seen > _IDLE_S or now - session.began > _WHOLE_S:
                del self._known[key]
                return None
            session.seen = now
            if session.user is not None:
                self._known.move_to_end(key)
            return session

    def end(self, session: Session) -> None:
        """Logs out."""
        with self._lock:
            self._known.pop(session.id, None)


class Attempts:
    """Failed logins of the last quarter of an hour, by whom and from where."""

    def __init__(self, clock: Clock = time.monotonic):
        self._clock, self._lock = clock, threading.Lock()
        self._failed: dict[str, deque[float]] = {}

    def wait_s(self, name: str, address: str) -> float:
        """Seconds until another attempt is looked at; 0: now."""
        now = self._clock()
        with self._lock:
            return max((self._wait(key, most, now) for key, most in _limits(name, address)), default=0.0)

    def failed(self, name: str, address: str) -> None:
        """Counts a failure."""
        now = self._clock()
        with self._lock:
            for key in [k for k, times in self._failed.items() if now - times[-1] > _WINDOW_S]:
                del self._failed[key]
            for key, most in _limits(name, address):
                self._failed.setdefault(key, deque(maxlen=most)).append(now)

    def _wait(self, key: str, most: int, now: float) -> float:
        times = self._failed.get(key, deque())
        return max(0.0, times[0] + _WINDOW_S - now) if len(times) == most else 0.0


def _limits(name: str, address: str) -> list[tuple[str, int]]:
    """A few for one person from one place; more for a place, or for a person from everywhere."""
    return [(f"{name}@{address}", 5), (f"from {address}", 20), (f"name {name}", 50)]
