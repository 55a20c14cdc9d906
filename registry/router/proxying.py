"""Between OpenAI's chat protocol and the router, for any proxy: what a request asks, what an answer shows."""

import math
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from registry.router.decide import Context, Decision, Router
from registry.terms import ANY, LEVELS
from supply_chain.errors import InvalidInput
from supply_chain.recipe.route import Cause

AUTO = "auto"
PREFIX = "x-supply-chain-"


def context_of(asked: str, router: Router, headers: Mapping[str, str]) -> Context:
    """What the caller says: a task or `auto` as the model, limits as headers (`x-supply-chain-zone`, `-sensitivity`,
    `-max-p95-ms`, `-session`). Raises InvalidInput for another model, or a limit that cannot be read.
    """
    tasks = {route.task for route in router.manifest.routes}
    if asked != AUTO and asked not in tasks:
        raise InvalidInput(f"no route {asked!r}; ask for {AUTO} or a task: {', '.join(sorted(tasks)) or 'none'}")
    said = {name.lower().removeprefix(PREFIX): value for name, value in headers.items()
            if name.lower().startswith(PREFIX)}  # fmt: skip
    level = said.get("sensitivity", "internal")
    if level not in LEVELS:
        raise InvalidInput(f"{PREFIX}sensitivity is {level!r}, expected one of {', '.join(LEVELS)}")
    return Context(
        task=None if asked == AUTO else asked,
        sensitivity=level,
        zone=said.get("zone", ANY),
        max_p95_ms=_number("max-p95-ms", said),
        request=said.get("session"),
    )


def text_of(messages: Sequence[Mapping[str, Any]]) -> str:
    """The text of the last message of a user; empty without one."""
    for message in reversed(messages):
        if message.get("role") == "user":
            return content_of(message)
    return ""


def content_of(message: Mapping[str, Any]) -> str:
    """The text of one message; its parts on lines of their own."""
    content = message.get("content")
    if isinstance(content, str):
        return content
    parts = content if isinstance(content, list) else []
    return "\n".join(str(part.get("text", "")) for part in parts if isinstance(part, Mapping))


def after(router: Router, text: str, decision: Decision, cause: Cause, context: Context) -> Iterator[Decision]:
    """Who answers instead, one after the other, while each of them fails for the same cause."""
    seen = {decision.model}
    while decision.model is not None:
        decision = router.escalate(text, decision, cause, context)
        if decision.model is None or decision.model in seen:
            return
        seen.add(decision.model)
        yield decision


def confidence_of(choice: Mapping[str, Any]) -> float | None:
    """The probability of a written answer: of all its tokens together. None where the server does not tell."""
    tokens = (choice.get("logprobs") or {}).get("content")
    if not tokens:
        return None
    return math.exp(min(0.0, sum(float(token["logprob"]) for token in tokens)))


def shown(router: Router, decision: Decision, confidence: float | None = None) -> dict[str, str]:
    """Response headers that show the route."""
    told = {
        "generation": str(router.manifest.generation),
        "route": decision.route or "none",
        "model": decision.model or "none",
        "hops": str(decision.hops),
        "reasons": "; ".join(decision.reasons),
        **({"confidence": f"{confidence:.4f}"} if confidence is not None else {}),
    }
    return {PREFIX + name: _header(value) for name, value in told.items()}


def _header(value: str) -> str:
    return " ".join(value.split()).encode("ascii", "replace").decode()[:1000]


def _number(name: str, said: Mapping[str, str]) -> float | None:
    try:
        return float(said[name]) if name in said else None
    except ValueError:
        raise InvalidInput(f"{PREFIX}{name} is {said[name]!r}, expected a number") from None
