"""A LiteLLM proxy with the plug-in before real local HTTP servers, in LiteLLM's own environment."""

import json
import math
import os
import secrets
import socket
import subprocess
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

from supply_chain.settings import PROJECT

KEY = "sk-" + secrets.token_hex(16)
"""LiteLLM does not start without a key."""


class Specialist(ThreadingHTTPServer):
    """Answers chats with its name, `confidence` sure; `status` 500 makes it fail."""

    confidence, status, asked = 0.9, 200, 0


class Answer(BaseHTTPRequestHandler):
    def do_POST(self) -> None:
        request = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        self.server.asked += 1
        logprob = math.log(self.server.confidence)
        choice = {
            "index": 0,
            "finish_reason": "stop",
            "message": {"role": "assistant", "content": request["model"]},
            "logprobs": {"content": [{"token": "x", "logprob": logprob, "bytes": None, "top_logprobs": []}]},
        }
        told = {"id": "1", "object": "chat.completion", "created": 0, "model": request["model"], "choices": [choice],
                "usage": {"prompt_tokens": 1, "completion_tokens": 1, "total_tokens": 2}}  # fmt: skip
        body = json.dumps(told if self.server.status == 200 else {"error": {"message": "out of order"}}).encode()
        self.send_response(self.server.status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_) -> None:
        pass


@contextmanager
def specialist() -> Iterator[Specialist]:
    with Specialist(("127.0.0.1", 0), Answer) as server:
        threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True).start()
        yield server
        server.shutdown()


@contextmanager
def proxy(executable: Path, config: Path, manifest: Path, urls: dict[str, str]) -> Iterator[str]:
    """The address of a LiteLLM proxy that runs `config` with the plug-in."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    environment = {
        **os.environ, **urls, "SUPPLY_CHAIN_MANIFEST": str(manifest), "PYTHONPATH": str(PROJECT),
        "LITELLM_LOCAL_MODEL_COST_MAP": "True", "NO_PROXY": "127.0.0.1", "OMP_NUM_THREADS": "1",
        "LITELLM_MASTER_KEY": KEY,
    }  # fmt: skip
    log = config.with_suffix(".log")
    with log.open("w") as out:
        command = [str(executable), "--config", str(config), "--port", str(port), "--host", "127.0.0.1"]
        process = subprocess.Popen([*command, "--telemetry", "False"], env=environment, stdout=out, stderr=out)
    address = f"http://127.0.0.1:{port}"
    try:
        for _ in range(3000):  # it imports for minutes on a busy machine
            if process.poll() is not None:
                raise RuntimeError(log.read_text()[-3000:])
            try:
                urllib.request.urlopen(f"{address}/health/liveliness", timeout=2)
                break
            except OSError:
                time.sleep(0.2)
        yield address
    finally:
        process.terminate()
        process.wait()


def ask(address: str, model: str, text: str, **headers: str) -> tuple[int, str, dict[str, str]]:
    """Status, answer and the route's headers."""
    body = json.dumps({"model": model, "messages": [{"role": "user", "content": text}]}).encode()
    named = {f"x-supply-chain-{name.replace('_', '-')}": value for name, value in headers.items()}
    request = urllib.request.Request(
        f"{address}/v1/chat/completions",
        body,
        {"Content-Type": "application/json", "Authorization": f"Bearer {KEY}", **named},
    )
    try:
        with urllib.request.urlopen(request, timeout=60) as reply:
            status, told, found = reply.status, json.loads(reply.read()), reply.headers
    except urllib.error.HTTPError as error:
        status, told, found = error.code, json.loads(error.read()), error.headers
    answer = told["choices"][0]["message"]["content"] if status == 200 else json.dumps(told)
    prefix = "x-supply-chain-"
    return status, answer, {k.lower().removeprefix(prefix): v for k, v in found.items() if k.lower().startswith(prefix)}
