"""LiteLLM's configuration with our router inside the proxy: see `registry/router/litellm.py`.

Callers name `auto`, or a task, as the model; the plug-in names the specialist. Every one who may answer is a
deployment of its own name.
"""

from typing import Any

import yaml

from registry.compilers import Compiled
from registry.compilers.places import head, variable_of
from registry.decoding import openai_parameters
from registry.routing import Model, RoutingManifest

CALLBACK = "registry.router.litellm.plugin"


def compile_litellm_plugin(manifest: RoutingManifest) -> Compiled:
    """The configuration of one generation; the proxy's process finds the manifest by SUPPLY_CHAIN_MANIFEST."""
    last = manifest.fallback
    models = [_served(model, manifest.generation) for model in manifest.models]
    models.append({"model_name": last.name, "litellm_params": _params(last.name, last.url_env)})
    config = {
        "model_list": models,
        "router_settings": {"num_retries": 0, "max_fallbacks": max((r.max_hops for r in manifest.routes), default=0)},
        "litellm_settings": {"callbacks": [CALLBACK]},
    }
    lost = [
        "a timeout is an error here: LiteLLM tells the plug-in of neither before it falls back",
        "a streamed answer is not measured against the confidence: ask without stream",
        *(
            f"{model.name}: its confidence is that of the tokens it wrote, not the calibrated one of its labels; "
            "`supply-chain serve` gives that one"
            for model in manifest.models
            if model.decoding is not None and model.decoding.answers == "ranked"
        ),
    ]
    text = head(manifest) + yaml.safe_dump(config, sort_keys=False, allow_unicode=True)
    return Compiled({"config.yaml": text}, lost)


def _served(model: Model, generation: int) -> dict[str, Any]:
    params = _params(model.name, variable_of(model.name)) | openai_parameters(model)
    told = {"generation": generation, "mlflow_version": model.mlflow.version, "sha256": model.artifact.sha256,
            "max_input_tokens": model.context_tokens}  # fmt: skip
    return {"model_name": model.name, "litellm_params": params, "model_info": told}


def _params(name: str, variable: str) -> dict[str, Any]:
    return {"model": f"openai/{name}", "api_base": f"os.environ/{variable}", "api_key": "none"}
