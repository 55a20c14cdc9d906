"""Asks what is served, and shows the way of each request: who answered, how sure, and why."""

import json
import urllib.error
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass

from registry.router.proxying import AUTO, PREFIX
from registry.routing import ModelRoute, RoutingManifest
from registry.serving.fleet import Served
from supply_chain.data.examples import read_split
from supply_chain.records import Splits
from supply_chain.store import Store

STRANGER = "What is the capital of France?"
_DIRECT = urllib.request.build_opener(urllib.request.ProxyHandler({}))
_TRIES, _TIMEOUT_S = 12, 300


@dataclass(frozen=True)
class Told:
    """A request and what came back; `way` holds the headers that show the route, without their prefix."""

    asked: str
    text: str
    status: int
    answer: str
    way: dict[str, str]


def ask(served: Served, model: str, text: str) -> Told:
    """One chat request through the proxy."""
    body = json.dumps({"model": model, "messages": [{"role": "user", "content": text}]}).encode()
    headers = {"Content-Type": "application/json", "Authorization": f"Bearer {served.key}"}
    request = urllib.request.Request(f"{served.proxy}/chat/completions", body, headers)  # noqa: S310 (the loopback)
    try:
        with _DIRECT.open(request, timeout=_TIMEOUT_S) as reply:
            status, told, found = reply.status, json.loads(reply.read()), dict(reply.headers)
    except urllib.error.HTTPError as error:
        status, told, found = error.code, json.loads(error.read() or b"{}"), dict(error.headers)
    answer = told["choices"][0]["message"]["content"] if status == 200 else json.dumps(told)
    way = {name.lower().removeprefix(PREFIX): value for name, value in found.items() if name.lower().startswith(PREFIX)}
    return Told(model, text, status, answer, way)


def tour(served: Served, manifest: RoutingManifest, store: Store) -> Iterator[Told]:
    """Of every route a test row that its specialist answers and, where answers are passed on, one that was unsure;

    then a question that no route is for. Where the rows are not in the store, the route's utterances are asked.
    """
    for route in manifest.routes:
        seen: set[bool] = set()
        wanted = 1 if route.min_confidence is None else 2
        for text in _texts(route, manifest, store):
            told = ask(served, route.task, text)
            passed_on = told.way.get("hops", "0") != "0"
            if passed_on not in seen:
                yield told
            seen.add(passed_on)
            if len(seen) == wanted:
                break
    yield ask(served, AUTO, STRANGER)


def _texts(route: ModelRoute, manifest: RoutingManifest, store: Store) -> list[str]:
    digest = next(m.splits_sha256 for m in manifest.models if m.name == route.candidates[0].model)
    splits = store.of_digest(Splits, digest)
    return [row.text for row in read_split(splits, "test")[:_TRIES]] if splits else route.utterances[:_TRIES]
