"""vLLM Semantic Router's `config.yaml` (contract v0.3): keywords and utterances decide, the generalist takes the rest.

Specialists answer at the address in `REVIEW_SENTIMENT_URL`, the generalist at that of its own variable.
"""

from typing import Any

import yaml

from registry.compilers import Compiled
from registry.compilers.lost import losses
from registry.compilers.places import head, variable_of
from registry.routing import ModelRoute, RoutingManifest

VERSION, THRESHOLD = "v0.3", 0.75
"""How like an utterance a text must be; the target's own scale, on which nothing was measured."""


def compile_semantic_router(manifest: RoutingManifest) -> Compiled:
    """The configuration of one generation."""
    last = manifest.fallback.name
    backends = {model.name: variable_of(model.name) for model in manifest.models} | {last: manifest.fallback.url_env}
    signals: dict[str, list[dict[str, Any]]] = {"keywords": [], "embeddings": []}
    decisions, lost = [], []
    for route in manifest.routes:
        conditions = _signals(route, signals)
        if conditions:
            decisions.append(_decision(route, conditions))
        else:
            lost.append(f"{route.task}: it has neither keywords nor utterances, so that nothing reaches it")
    decisions.append({"name": last, "priority": 1, "rules": {"operator": "AND", "conditions": []},
                      "modelRefs": [{"model": last, "use_reasoning": False}]})  # fmt: skip
    cards = [{"name": m.name, "context_window_size": m.context_tokens} for m in manifest.models]
    config = {
        "version": VERSION,
        "listeners": [{"name": "http-8899", "address": "127.0.0.1", "port": 8899}],
        "providers": {
            "defaults": {"model": last},
            "models": [_provider(name, variable) for name, variable in backends.items()],
        },
        "routing": {
            "modelCards": [*cards, {"name": last}],
            "signals": {kind: found for kind, found in signals.items() if found},
            "decisions": decisions,
        },
    }
    lost += [f"{route.task}: utterances are compared at {THRESHOLD}, which nothing here measured"
             for route in manifest.routes if route.utterances]  # fmt: skip
    lost += losses(manifest, "vLLM Semantic Router", {"keywords", "utterances", "answers", "weights", "context"})
    text = head(manifest) + yaml.safe_dump(config, sort_keys=False, allow_unicode=True)
    return Compiled({"config.yaml": text}, lost)


def _signals(route: ModelRoute, signals: dict[str, list[dict[str, Any]]]) -> list[dict[str, str]]:
    found = []
    keywords = [word for word in route.keywords if word.strip()]
    if keywords:
        signals["keywords"].append({"name": route.task, "operator": "OR", "keywords": keywords})
        found.append({"type": "keyword", "name": route.task})
    utterances = [text for text in route.utterances if text.strip()]
    if utterances:
        signals["embeddings"].append({"name": route.task, "threshold": THRESHOLD, "candidates": utterances})
        found.append({"type": "embedding", "name": route.task})
    return found


def _decision(route: ModelRoute, conditions: list[dict[str, str]]) -> dict[str, Any]:
    many = len(route.candidates) > 1
    refs = [{"model": c.model, "use_reasoning": False, **({"weight": c.weight} if many else {})}
            for c in route.candidates]  # fmt: skip
    rules = {"operator": "OR", "conditions": conditions}
    return {"name": route.task, "priority": 100, "rules": rules, "modelRefs": refs}


def _provider(name: str, variable: str) -> dict[str, Any]:
    return {"name": name, "backend_refs": [{"name": name, "base_url": f"${{{variable}}}", "provider": "vllm"}]}
