"""llama-swap's `config.yaml`: llama.cpp serves each GGUF specialist on demand, under its own name and its task's."""

import shlex
from typing import Any

import yaml

from registry.compilers import Compiled
from registry.compilers.lost import left_out, losses, tasks_of
from registry.compilers.places import FILE, folder_of, head, is_gguf
from registry.decoding import llama_parameters
from registry.routing import Model, RoutingManifest


def compile_llama_swap(manifest: RoutingManifest) -> Compiled:
    """The configuration of one generation. The generalist is a peer, behind the URL of its variable."""
    models: dict[str, Any] = {}
    lost: list[str] = []
    tasks = tasks_of(manifest)
    taken = {model.name for model in manifest.models} | {manifest.fallback.name}
    for model in manifest.models:
        if not is_gguf(model):
            lost.append(left_out(model, f"llama.cpp serves GGUF and its weights are {model.artifact.format}"))
            continue
        folder, todo = folder_of(model.name, model.artifact.uri)
        lost += todo
        lost += [f"task {task} is the name of another model: call {model.name}" for task in tasks[model.name]
                 if task in taken - {model.name}]  # fmt: skip
        aliases = [task for task in tasks[model.name] if task not in taken]
        models[model.name] = _served(model, folder, aliases, manifest)
    peer = {"proxy": f"${{env.{manifest.fallback.url_env}}}", "models": [manifest.fallback.name]}
    config = {"models": models, "peers": {manifest.fallback.name: peer}}
    lost += losses(manifest, "llama-swap", {"context", "decoding"})
    return Compiled({"config.yaml": head(manifest) + yaml.safe_dump(config, sort_keys=False, allow_unicode=True)}, lost)


def _served(model: Model, folder: str, aliases: list[str], manifest: RoutingManifest) -> dict[str, Any]:
    path = shlex.quote(f"{folder}/{FILE}")
    told = {"generation": manifest.generation, "mlflow_version": model.mlflow.version, "sha256": model.artifact.sha256}
    entry: dict[str, Any] = {
        "cmd": f"llama-server --host 127.0.0.1 --port ${{PORT}} --model {path} --ctx-size {model.context_tokens}",
        "aliases": aliases,
        "metadata": told,
        "capabilities": {"in": ["text"], "out": ["text"], "context": model.context_tokens},
    }
    if model.decoding is not None:
        limit = {"max_tokens": model.decoding.max_new_tokens} if model.decoding.max_new_tokens else {}
        entry["filters"] = {"setParams": llama_parameters(model) | limit}
    return entry
