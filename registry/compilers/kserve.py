"""KServe: an `InferenceService` a specialist; where adapters share a base, one `LLMInferenceService` with them all."""

from collections import defaultdict
from typing import Any

import yaml

from registry.compilers import Compiled
from registry.compilers.lost import left_out, losses, tasks_of
from registry.compilers.places import dns_name, head, unserved
from registry.routing import Model, RoutingManifest

_NOTES = "supply-chain"


def compile_kserve(manifest: RoutingManifest) -> Compiled:
    """`services.yaml`. KServe fetches the artifacts itself, from the manifest's URIs."""
    documents: list[dict[str, Any]] = []
    lost: list[str] = []
    tasks, shared = tasks_of(manifest), defaultdict(list)
    for model in manifest.models:
        for what, uri in (("artifact", model.artifact.uri), ("adapter", model.adapter.uri if model.adapter else "")):
            if uri.startswith("file:"):
                lost.append(f"{model.name}: its {what} is a local folder ({uri}): publish from a shared store")
        if model.adapter is not None:
            shared[model.base.name].append(model)
        if unserved(model):
            lost.append(left_out(model, f"KServe has no runtime for {unserved(model)} unless you add one"))
        else:
            documents.append(_service(model, tasks[model.name], manifest))
    for base, models in sorted(shared.items()):
        if len(models) > 1:
            documents.append(_shared(base, models, manifest))
            lost.append(f"{base}: fetch it to the claim base-models first; adapters over it answer in full precision")
    text = head(manifest) + yaml.safe_dump_all(documents, sort_keys=False, allow_unicode=True)
    lost += [f"{manifest.fallback.name}: KServe passes nothing on to the generalist"]
    return Compiled({"services.yaml": text}, lost + losses(manifest, "KServe", {"context"}))


def _service(model: Model, tasks: list[str], manifest: RoutingManifest) -> dict[str, Any]:
    arguments = [f"--model_name={model.name}", f"--max-model-len={model.context_tokens}"]
    arguments += ["--quantization=bitsandbytes"] if model.artifact.format.startswith("bnb") else []
    served = {
        "modelFormat": {"name": "huggingface"},
        "protocolVersion": "v2",
        "storageUri": model.artifact.uri,
        "args": arguments,
    }
    return {
        "apiVersion": "serving.kserve.io/v1beta1",
        "kind": "InferenceService",
        "metadata": {"name": dns_name(model.name), "annotations": _notes(model, tasks, manifest)},
        "spec": {"predictor": {"model": served}},
    }


def _shared(base: str, models: list[Model], manifest: RoutingManifest) -> dict[str, Any]:
    adapters = [{"name": model.name, "uri": model.adapter.uri} for model in models if model.adapter is not None]
    notes = {f"{_NOTES}/fleet": manifest.fleet, f"{_NOTES}/generation": str(manifest.generation)}
    return {
        "apiVersion": "serving.kserve.io/v1alpha1",
        "kind": "LLMInferenceService",
        "metadata": {"name": dns_name(base), "annotations": notes},
        "spec": {
            "model": {"uri": f"pvc://base-models/{base}", "name": base, "lora": {"adapters": adapters}},
            "replicas": 1,
            "router": {"route": {}, "gateway": {}},
        },
    }


def _notes(model: Model, tasks: list[str], manifest: RoutingManifest) -> dict[str, str]:
    told = {
        "fleet": manifest.fleet,
        "generation": str(manifest.generation),
        "mlflow": f"{model.mlflow.name}/{model.mlflow.version}",
        "sha256": model.artifact.sha256,
        "tasks": ", ".join(tasks),
        "zone": model.zone,
    }
    return {f"{_NOTES}/{name}": value for name, value in told.items()}
