"""LiteLLM proxy's `config.yaml`. Callers name a route's task as the model.

Where a specialist is served is an environment variable of its name (`REVIEW_SENTIMENT_URL`), an
OpenAI-compatible endpoint.
"""

from collections.abc import Iterator
from typing import Any

import yaml

from registry.compilers import Compiled
from registry.compilers.lost import CAUSES, losses
from registry.compilers.places import head, variable_of
from registry.decoding import openai_parameters
from registry.routing import Candidate, Model, ModelRoute, RoutingManifest
from registry.terms import NOBODY
from supply_chain.recipe.route import Cause

_SETTINGS: dict[str, Cause] = {
    "fallbacks": "error",
    "context_window_fallbacks": "context_overflow",
    "content_policy_fallbacks": "policy",
}
"""LiteLLM's name for what happens for a cause."""


def compile_litellm(manifest: RoutingManifest) -> Compiled:
    """The configuration of one generation."""
    models = {model.name: model for model in manifest.models}
    task_of = {c.model: route.task for route in manifest.routes for c in route.candidates}
    task_of[manifest.fallback.name] = manifest.fallback.name
    last = {
        "model_name": manifest.fallback.name,
        "litellm_params": _params(manifest.fallback.name, manifest.fallback.url_env, 1.0),
    }
    served = [_served(models[c.model], route, c, manifest) for route in manifest.routes for c in route.candidates]
    hops = [route.max_hops for route in manifest.routes]
    settings: dict[str, Any] = {"routing_strategy": "simple-shuffle", "max_fallbacks": min(hops, default=0)}
    for name, cause in _SETTINGS.items():
        found = [{r.task: [task_of[r.fallbacks[cause]]]} for r in manifest.routes if r.fallbacks[cause] != NOBODY]
        settings[name] = found
    config = {"model_list": [*served, last], "router_settings": settings}
    text = head(manifest) + yaml.safe_dump(config, sort_keys=False, allow_unicode=True)
    told = losses(manifest, "LiteLLM", {"hops", "weights", "context", "answers", "decoding"}, set(CAUSES))
    return Compiled({"config.yaml": text}, [*_lost(manifest), *told])


def _served(model: Model, route: ModelRoute, candidate: Candidate, manifest: RoutingManifest) -> dict[str, Any]:
    told = {
        "generation": manifest.generation,
        "mlflow_version": model.mlflow.version,
        "sha256": model.artifact.sha256,
        "max_input_tokens": model.context_tokens,
    }
    params = _params(model.name, variable_of(model.name), candidate.weight) | openai_parameters(model)
    return {"model_name": route.task, "litellm_params": params, "model_info": told}


def _params(name: str, variable: str, weight: float) -> dict[str, Any]:
    return {"model": f"openai/{name}", "api_base": f"os.environ/{variable}", "api_key": "none", "weight": weight}


def _lost(manifest: RoutingManifest) -> Iterator[str]:
    for route in manifest.routes:
        if route.fallbacks["timeout"] != route.fallbacks["error"]:
            yield f"{route.task}: LiteLLM treats a timeout as an error: {route.fallbacks['error']} answers then"
    limits = {route.max_hops for route in manifest.routes}
    if len(limits) > 1:
        yield f"the lowest of max_hops ({min(limits)}) holds for all routes"
