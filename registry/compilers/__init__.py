"""Turns a generation of the manifest into other systems' configurations, and says what they cannot express."""

from collections.abc import Callable
from dataclasses import dataclass
from importlib import import_module

from registry.routing import RoutingManifest
from supply_chain.errors import InvalidInput

TARGETS = {
    "litellm": "litellm:compile_litellm",
    "llama-swap": "llama_swap:compile_llama_swap",
    "ollama": "ollama:compile_ollama",
    "vllm": "vllm:compile_vllm",
    "kserve": "kserve:compile_kserve",
    "semantic-router": "semantic_router:compile_semantic_router",
    "envoy-ai-gateway": "envoy:compile_envoy",
}


@dataclass(frozen=True)
class Compiled:
    """Files by name, and each thing of the manifest that they do not carry, in a sentence."""

    files: dict[str, str]
    lost: list[str]

    @property
    def text(self) -> str:
        """The only file; several, each under a comment with its name."""
        if len(self.files) == 1:
            return next(iter(self.files.values()))
        return "".join(f"# file: {name}\n{text}\n" for name, text in self.files.items())


def compiler(target: str) -> Callable[[RoutingManifest], Compiled]:
    """The compiler of a target. Raises InvalidInput that names those that there are."""
    if target not in TARGETS:
        raise InvalidInput(f"no compiler for {target!r}; there are: {', '.join(TARGETS)}")
    module, _, name = TARGETS[target].partition(":")
    found: Callable[[RoutingManifest], Compiled] = getattr(import_module(f"registry.compilers.{module}"), name)
    return found
