"""A real chat endpoint on this machine that misbehaves as it is told."""

import json
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

KEY = "sk-secret-1234"
Messages = list[dict[str, str]]


@dataclass
class Refusal:
    """A reply that is no chat completion."""

    status: int = 503
    body: bytes = b"upstream is gone"
    headers: dict[str, str] = field(default_factory=dict)
    pause_s: float = 0.0


@dataclass
class Chat:
    """`answer(text, times asked before)` gives the model's words or a Refusal; `asked` holds every text, in order."""

    url: str
    answer: Callable[[str, int], str | Refusal]
    asked: list[str] = field(default_factory=list)
    moments: list[float] = field(default_factory=list)
    systems: set[str] = field(default_factory=set)
    usage: bool = True
    lock: threading.Lock = field(default_factory=threading.Lock)

    def reply(self, messages: Messages) -> str | Refusal:
        system, text = messages[0]["content"], messages[-1]["content"]
        with self.lock:
            before = self.asked.count(text)
            self.asked.append(text)
            self.moments.append(time.monotonic())
            self.systems.add(system)
        return self.answer(text, before)


@contextmanager
def chat_server(answer: Callable[[str, int], str | Refusal]) -> Iterator[Chat]:
    """Serves on a free port until the block ends."""
    chat = Chat("", answer)

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = json.loads(self.rfile.read(int(self.headers["content-length"])))
            found: str | Refusal = Refusal(401, f"no such key: {self.headers['authorization']}".encode())
            if self.headers["authorization"] == f"Bearer {KEY}" and self.path == "/v1/chat/completions":
                found = chat.reply(body["messages"])
            if isinstance(found, Refusal):
                self.send(found.status, found.body, found.headers, found.pause_s)
                return
            done = {"choices": [{"message": {"role": "assistant", "content": found}}]}
            if chat.usage:
                done["usage"] = {"prompt_tokens": 100, "completion_tokens": 10}  # type: ignore[assignment]
            self.send(200, json.dumps(done).encode(), {}, 0)

        def send(self, status: int, body: bytes, headers: dict[str, str], pause_s: float) -> None:
            time.sleep(pause_s)
            try:
                self.send_response(status)
                for name, value in {**headers, "content-length": str(len(body))}.items():
                    self.send_header(name, value)
                self.end_headers()
                self.wfile.write(body)
            except OSError:
                self.close_connection = True  # the asker has left

        def log_message(self, *_: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    chat.url = f"http://127.0.0.1:{server.server_port}/v1"
    threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
    try:
        yield chat
    finally:
        server.shutdown()
        server.server_close()
