"""A client of an OpenAI-compatible chat endpoint that waits, tries again and says why it gave up."""

import json
import os
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from email.utils import parsedate_to_datetime
from typing import Any

import httpx2

from supply_chain.errors import InvalidInput, Unavailable, Unreachable
from supply_chain.recipe.endpoint import Endpoint

_AGAIN = {408, 409, 425, 429}
_LONGEST_PAUSE_S = 60.0
_LONGEST_HOLD_S = 600.0
_MAX_BYTES = 1 << 20


@dataclass(frozen=True)
class Reply:
    """What the model wrote, the tokens it is paid for (None where the endpoint does not count them) and its time."""

    text: str
    tokens_in: int | None
    tokens_out: int | None
    seconds: float | None = None
    """Wall time of the request that was answered, without waiting for its turn; None where nobody took it."""


class NoAnswer(Exception):
    """One try failed in a way that the next may not; `hold_s` is what the endpoint asked to wait."""

    def __init__(self, why: str, hold_s: float | None = None):
        super().__init__(why)
        self.hold_s = hold_s


class Pace:
    """Spreads requests evenly over time, for all threads together."""

    def __init__(self, per_minute: float):
        self.gap_s, self.free_at, self.lock = 60 / per_minute, 0.0, threading.Lock()

    def wait(self, stopping: threading.Event) -> None:
        """Sleeps until this request's turn, or until all is stopped."""
        with self.lock:
            turn = max(self.free_at, time.monotonic())
            self.free_at = turn + self.gap_s
        stopping.wait(max(0.0, turn - time.monotonic()))

    def hold(self, seconds: float) -> None:
        """Lets no turn begin for so long."""
        with self.lock:
            self.free_at = max(self.free_at, time.monotonic() + seconds)


class ChatClient:
    """Asks one endpoint; safe for several threads. Raises InvalidInput when the key is not set."""

    def __init__(self, spec: Endpoint):
        self.spec, self.pace = spec, Pace(spec.requests_per_minute)
        self.key = _key_of(spec)
        headers = {"Authorization": f"Bearer {self.key}"} if self.key else {}
        limits = httpx2.Limits(max_connections=spec.parallel)
        self.http = httpx2.Client(headers=headers, timeout=spec.timeout_s, limits=limits, follow_redirects=False)
        self.stopping = threading.Event()

    def __enter__(self) -> "ChatClient":
        return self

    def __exit__(self, *_: object) -> None:
        self.http.close()

    def ask(self, messages: list[dict[str, str]]) -> Reply:
        """The endpoint's reply. Raises Unreachable after the last attempt, InvalidInput when trying again is vain."""
        spec = self.spec
        body = {
            "model": spec.model,
            "messages": messages,
            "temperature": spec.temperature,
            "max_tokens": spec.max_answer_tokens,
        }
        try:
            return _retrying(spec, self.stopping)(self._once, body)
        except NoAnswer as error:
            tries = f"{spec.attempts} attempts" if spec.attempts > 1 else "1 attempt"
            raise Unreachable(f"teacher {spec.model} at {spec.url} gave no answer in {tries}: {error}") from error

    def _once(self, body: dict[str, Any]) -> Reply:
        self.pace.wait(self.stopping)
        if self.stopping.is_set():
            raise NoAnswer("stopped")
        began = time.monotonic()
        try:
            with self.http.stream("POST", f"{self.spec.url}/chat/completions", json=body) as response:
                content = self._read(response)
        except httpx2.TimeoutException:
            raise NoAnswer(f"timed out after {self.spec.timeout_s:g} s") from None
        except httpx2.HTTPError as error:
            raise NoAnswer(str(error) or type(error).__name__) from None
        self._check(response, content)
        return replace(_reply_in(content), seconds=time.monotonic() - began)

    def _read(self, response: httpx2.Response) -> bytes:
        ends, found = time.monotonic() + self.spec.timeout_s, b""
        for chunk in response.iter_bytes():
            found += chunk
            if len(found) > _MAX_BYTES:
                raise NoAnswer("the answer is longer than 1 MiB")
            if time.monotonic() > ends:
                raise NoAnswer(f"the answer was not whole after {self.spec.timeout_s:g} s")
        return found

    def _check(self, response: httpx2.Response, content: bytes) -> None:
        status, spec = response.status_code, self.spec
        if status == 200:
            return
        said = content[:200].decode(errors="replace").strip()
        said = said.replace(self.key, "***") if self.key else said
        if status >= 500 or status in _AGAIN:
            hold_s = _retry_after(response.headers.get("retry-after"))
            if hold_s:
                self.pace.hold(hold_s)
            raise NoAnswer(f"HTTP {status} {said}".strip(), hold_s)
        cure = "check train.teacher.endpoint: url and model"
        if status in (401, 403):
            cure = (
                f"set {spec.key_env} to a key that may use {spec.model}"
                if spec.key_env
                else "name its key's variable in key_env"
            )
        elif 300 <= status < 400:
            cure = f"it redirects to {response.headers.get('location', 'nowhere')}: name the real address in url"
        raise InvalidInput(f"teacher {spec.model} at {spec.url} refuses to answer: HTTP {status} {said}; {cure}")


def _retrying(spec: Endpoint, stopping: threading.Event) -> Callable[..., Reply]:
    try:
        import tenacity  # noqa: PLC0415 (an extra)
    except ImportError:
        raise Unavailable("a teacher behind an endpoint needs tenacity: pip install '.[endpoint]'") from None
    backoff = tenacity.wait_random_exponential(multiplier=spec.backoff_s, max=_LONGEST_PAUSE_S)

    def pause(state: tenacity.RetryCallState) -> float:
        error = state.outcome.exception() if state.outcome else None
        asked = error.hold_s if isinstance(error, NoAnswer) else None
        return asked if asked is not None else backoff(state)

    return tenacity.Retrying(
        retry=tenacity.retry_if_exception_type(NoAnswer),
        stop=tenacity.stop_after_attempt(spec.attempts) | tenacity.stop_when_event_set(stopping),
        wait=pause,
        sleep=tenacity.sleep_using_event(stopping),
        reraise=True,
    )


def _key_of(spec: Endpoint) -> str | None:
    if spec.key_env is None:
        return None
    key = os.environ.get(spec.key_env, "").strip()
    if not key:
        raise InvalidInput(
            f"train.teacher.endpoint: the environment variable {spec.key_env} is not set; it holds the key"
        )
    if not key.isascii() or not key.isprintable():
        raise InvalidInput(f"the environment variable {spec.key_env} holds no key: a line break or other odd character")
    return key


def _retry_after(value: str | None) -> float | None:
    """Seconds that a Retry-After header asks for (RFC 9110: seconds or a date), ten minutes at most."""
    if value is None:
        return None
    try:
        seconds = float(value) if value.strip().isdigit() else parsedate_to_datetime(value).timestamp() - time.time()
    except (ValueError, TypeError):
        return None
    return min(max(seconds, 0.0), _LONGEST_HOLD_S)


def _reply_in(content: bytes) -> Reply:
    try:
        found = json.loads(content)
        text = found["choices"][0]["message"]["content"]
        usage = found.get("usage") or {}
        counts = [usage.get("prompt_tokens"), usage.get("completion_tokens")]
    except (ValueError, KeyError, IndexError, TypeError, AttributeError, RecursionError):
        raise NoAnswer(f"no chat completion, but {content[:80].decode(errors='replace')!r}") from None
    if not isinstance(text, str):
        raise NoAnswer("a chat completion without text")
    known = [n if isinstance(n, int) and not isinstance(n, bool) and n >= 0 else None for n in counts]
    return Reply(text, *known)
