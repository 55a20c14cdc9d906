"""Envoy AI Gateway: an `AIGatewayRoute` by model name, with the fallback for errors as the next priority.

Every one who answers is the service of its name in the gateway's namespace (as KServe makes it).
"""

from typing import Any

import yaml

from registry.compilers import Compiled
from registry.compilers.lost import losses
from registry.compilers.places import dns_name, head
from registry.routing import ModelRoute, RoutingManifest
from registry.terms import NOBODY

_AI, _GATEWAY = "aigateway.envoyproxy.io/v1alpha1", "gateway.envoyproxy.io/v1alpha1"
_MODEL = "x-ai-eg-model"
RULES = 15
"""The most rules that one AIGatewayRoute takes."""


def compile_envoy(manifest: RoutingManifest) -> Compiled:
    """`gateway.yaml`, for a Gateway that is called as the fleet."""
    names = [*(model.name for model in manifest.models), manifest.fallback.name]
    rules = [_rule(route, manifest) for route in manifest.routes]
    rules.append(_match(manifest.fallback.name, [{"name": dns_name(manifest.fallback.name), "weight": 1}]))
    parts = [rules[start : start + RULES] for start in range(0, len(rules), RULES)]
    documents = [part for name in names for part in _backend(name)]
    for number, part in enumerate(parts, 1):
        name = f"{dns_name(manifest.fleet)}-{number}"
        documents += [_route(name, part, manifest), _retries(name)]
    host = dns_name(manifest.fallback.name)
    lost = [f"{manifest.fallback.name}: its URL is in {manifest.fallback.url_env} alone: make {host} a service of it"]
    for route in manifest.routes:
        if route.fallbacks["timeout"] != route.fallbacks["error"]:
            lost.append(f"{route.task}: a timeout is an error here: {route.fallbacks['error']} answers then")
    lost += losses(manifest, "Envoy AI Gateway", {"weights", "answers"}, {"error", "timeout"})
    text = head(manifest) + yaml.safe_dump_all(documents, sort_keys=False, allow_unicode=True)
    return Compiled({"gateway.yaml": text}, lost)


def _rule(route: ModelRoute, manifest: RoutingManifest) -> dict[str, Any]:
    refs: list[dict[str, Any]] = []
    for candidate in route.candidates:
        share = max(1, round(candidate.weight * 100))
        told = {"name": dns_name(candidate.model), "weight": share, "modelNameOverride": candidate.model}
        refs.append({**told, "priority": 0})
    after = route.fallbacks["error"]
    if after != NOBODY and after not in {candidate.model for candidate in route.candidates}:
        refs.append({"name": dns_name(after), "weight": 100, "modelNameOverride": after, "priority": 1})
    return _match(route.task, refs)


def _match(task: str, refs: list[dict[str, Any]]) -> dict[str, Any]:
    header = {"type": "Exact", "name": _MODEL, "value": task}
    return {"matches": [{"headers": [header]}], "backendRefs": refs}


def _backend(name: str) -> list[dict[str, Any]]:
    safe = dns_name(name)
    at = {"fqdn": {"hostname": f"{safe}.default.svc.cluster.local", "port": 80}}
    service = {"schema": {"name": "OpenAI"},
               "backendRef": {"name": safe, "kind": "Backend", "group": "gateway.envoyproxy.io"}}  # fmt: skip
    return [
        {"apiVersion": _GATEWAY, "kind": "Backend", "metadata": {"name": safe}, "spec": {"endpoints": [at]}},
        {"apiVersion": _AI, "kind": "AIServiceBackend", "metadata": {"name": safe}, "spec": service},
    ]


def _route(name: str, rules: list[dict[str, Any]], manifest: RoutingManifest) -> dict[str, Any]:
    parent = {"name": dns_name(manifest.fleet), "kind": "Gateway", "group": "gateway.networking.k8s.io"}
    return {
        "apiVersion": _AI,
        "kind": "AIGatewayRoute",
        "metadata": {"name": name, "annotations": {"supply-chain/generation": str(manifest.generation)}},
        "spec": {"parentRefs": [parent], "rules": rules},
    }


def _retries(name: str) -> dict[str, Any]:
    """Without retries Envoy never tries the next priority."""
    target = {"group": "gateway.networking.k8s.io", "kind": "HTTPRoute", "name": name}
    retry = {"numRetries": 2, "numAttemptsPerPriority": 1, "retryOn": {"triggers": ["connect-failure", "reset", "5xx"]}}
    return {"apiVersion": _GATEWAY, "kind": "BackendTrafficPolicy", "metadata": {"name": name},
            "spec": {"targetRefs": [target], "retry": retry}}  # fmt: skip
