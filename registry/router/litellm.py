"""Our router inside LiteLLM's proxy (`supply-chain manifest compile litellm-plugin`).

The environment variable SUPPLY_CHAIN_MANIFEST names the manifest; a new generation is taken up with the next request.
LiteLLM walks the fallbacks that the router allows for this text; low confidence is escalated here.
"""

import os
from dataclasses import replace
from pathlib import Path
from typing import Any

from fastapi import HTTPException
from litellm.integrations.custom_logger import CustomLogger

from registry.router.decide import Context, Decision, Router
from registry.router.proxying import after, confidence_of, context_of, shown, text_of
from supply_chain.errors import InvalidInput, SupplyChainError
from supply_chain.recipe.route import Cause

VARIABLE = "SUPPLY_CHAIN_MANIFEST"
_KEY = "supply_chain"
_FALLBACKS: dict[str, Cause] = {
    "fallbacks": "error",
    "context_window_fallbacks": "context_overflow",
    "content_policy_fallbacks": "policy",
}
_CHATS = ("completion", "acompletion")


class RouterPlugin(CustomLogger):
    """LiteLLM's hooks, each a few lines around `Router`."""

    def __init__(self) -> None:
        super().__init__()
        self._loaded: tuple[int, Router] | None = None
        self._walks: dict[str, tuple[Router, str, Context, Decision]] = {}

    @property
    def router(self) -> Router:
        """The router of the generation in force. Raises InvalidInput."""
        path = Path(os.environ.get(VARIABLE, ""))
        if not path.is_file():
            raise InvalidInput(f"{VARIABLE} must name the routing manifest, found {str(path)!r}")
        stamp = path.stat().st_mtime_ns
        if self._loaded is None or self._loaded[0] != stamp:
            self._loaded = (stamp, Router.load(path))
        return self._loaded[1]

    async def async_pre_call_hook(self, user_api_key_dict: Any, cache: Any, data: dict, call_type: str) -> dict:
        """Names the deployment, and who may answer instead for each cause."""
        if call_type not in _CHATS:
            raise HTTPException(400, f"this proxy routes chat completions, not {call_type}")
        headers = (data.get("proxy_server_request") or {}).get("headers") or {}
        text = text_of(data.get("messages") or [])
        try:
            router = self.router
            context = context_of(str(data.get("model")), router, headers)
            decision = router.decide(text, context)
        except SupplyChainError as error:
            raise HTTPException(400, str(error)) from error
        if decision.model is None:
            raise HTTPException(503, "; ".join(decision.reasons), headers=shown(router, decision))
        data["model"] = decision.model
        for name, cause in _FALLBACKS.items():
            chain = [step.model for step in after(router, text, decision, cause, context)]
            data[name] = [{decision.model: chain}] if chain else []
        if _least(router, decision) is not None and not data.get("stream"):
            data["logprobs"] = True
        self._walks[data["litellm_call_id"]] = (router, text, context, decision)
        while len(self._walks) > 10_000:  # requests that never ended
            self._walks.pop(next(iter(self._walks)))
        return data

    async def async_post_call_success_hook(self, data: dict, user_api_key_dict: Any, response: Any) -> Any:
        """Asks the next one when the answer is less sure than its route wants it."""
        from litellm.proxy.proxy_server import llm_router  # noqa: PLC0415 (made while the proxy starts)

        walk = self._walks.get(data.get("litellm_call_id", ""))
        if walk is None or not hasattr(response, "choices"):
            return response
        router, text, context, decision = walk
        decision = _answered(router, text, context, decision, _name(response, llm_router))
        confidence = confidence_of(response.choices[0].model_dump())
        least = _least(router, decision)
        while least is not None and confidence is not None and confidence < least:
            seen = f"({confidence:.2f} < {least:g})"
            step = router.escalate(text, decision, "low_confidence", context, seen)
            if step.model is None:
                decision = replace(decision, reasons=step.reasons)
                break
            asked = {key: data[key] for key in ("max_tokens", "temperature", "tools") if key in data}
            response = await llm_router.acompletion(model=step.model, messages=data["messages"], **asked)
            decision, least, confidence = step, None, None  # whoever is asked last is believed
        self._walks[data["litellm_call_id"]] = (router, text, context, decision)
        data[_KEY] = shown(router, decision, confidence)
        return response

    async def async_post_call_response_headers_hook(
        self, data: dict, user_api_key_dict: Any, response: Any, **more: Any
    ) -> dict[str, str] | None:
        """Shows the route."""
        walk = self._walks.pop(data.get("litellm_call_id", ""), None)
        return data.get(_KEY) or (shown(walk[0], walk[3]) if walk else None)


def _least(router: Router, decision: Decision) -> float | None:
    return next((r.min_confidence for r in router.manifest.routes if r.task == decision.route), None)


def _name(response: Any, llm_router: Any) -> str | None:
    found = llm_router.get_deployment((getattr(response, "_hidden_params", None) or {}).get("model_id") or "")
    return found.model_name if found else None


def _answered(router: Router, text: str, context: Context, decision: Decision, name: str | None) -> Decision:
    """The decision as it was carried out: LiteLLM may have fallen back along the way that it was given."""
    for cause in _FALLBACKS.values():
        for step in after(router, text, decision, cause, context):
            if name == step.model and name != decision.model:
                return step
    return decision


plugin = RouterPlugin()
