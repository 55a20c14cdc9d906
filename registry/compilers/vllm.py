"""vLLM's launch commands: one server a base model with every LoRA adapter on it, one a model without an adapter.

An adapter over the unquantized base gives the answers of full precision, which the scorecard measured
beside the released 4-bit weights: see `lost`.
"""

import json
import shlex
from collections import defaultdict

from registry.compilers import Compiled
from registry.compilers.lost import left_out, losses, tasks_of
from registry.compilers.places import folder_of, head, unserved
from registry.routing import Model, RoutingManifest
from supply_chain.recipe.adapter import room_for

_UNTOLD = 256
"""Room for adapters whose rank an earlier generation did not tell."""


def compile_vllm(manifest: RoutingManifest) -> Compiled:
    """`serve.sh`: one command a server; `$BASE_MODELS` is the folder with the base models by name."""
    shared: dict[str, list[Model]] = defaultdict(list)
    lines, lost, tasks = [], [], tasks_of(manifest)
    for model in manifest.models:
        if model.adapter is not None:
            shared[model.base.name].append(model)
        elif unserved(model):
            lost.append(left_out(model, f"vLLM does not serve its {unserved(model)} weights and there is no adapter"))
        else:
            folder, todo = folder_of(model.name, model.artifact.uri)
            lost += todo
            lines.append(_alone(model, folder, tasks[model.name]))
    for base, models in sorted(shared.items()):
        line, todo = _together(base, models, tasks)
        lines.append(line)
        lost += todo
    text = "#!/bin/sh\n" + head(manifest) + "".join(f"{line}\n" for line in lines)
    lost += [f"{manifest.fallback.name}: vLLM passes nothing on to the generalist"]
    return Compiled({"serve.sh": text}, lost + losses(manifest, "vLLM", {"context"}))


def _alone(model: Model, folder: str, tasks: list[str]) -> str:
    nf4 = ["--quantization", "bitsandbytes"] if model.artifact.format.startswith("bnb") else []
    words = ["vllm", "serve", folder, "--served-model-name", model.name, *tasks]
    return shlex.join([*words, *nf4, "--max-model-len", str(model.context_tokens)])


def _together(base: str, models: list[Model], tasks: dict[str, list[str]]) -> tuple[str, list[str]]:
    modules, lost = [], []
    for model in models:
        assert model.adapter is not None
        folder, todo = folder_of(f"{model.name}-adapter", model.adapter.uri)
        lost += todo
        names = [model.name, *(task for task in tasks[model.name] if task != model.name)]
        modules += [json.dumps({"name": name, "path": folder, "base_model_name": base}) for name in names]
        lost.append(
            f"{model.name}: the adapter over the full base answers; measured and released are its "
            f"{model.artifact.format} weights"
        )
    room = str(min(model.context_tokens for model in models))
    rank = room_for([(model.adapter and model.adapter.rank) or _UNTOLD for model in models])
    words = ["--served-model-name", base, "--max-model-len", room, "--enable-lora"]
    words += ["--max-loras", str(len(modules)), "--max-lora-rank", str(rank), "--lora-modules", *modules]
    return f'vllm serve "$BASE_MODELS"/{shlex.quote(base)} {shlex.join(words)}', lost
