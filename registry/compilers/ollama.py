"""One Ollama Modelfile a GGUF specialist: weights, prompt, decoding, licences."""

from registry.compilers import Compiled
from registry.compilers.lost import left_out, losses
from registry.compilers.places import FILE, folder_of, head, is_gguf
from registry.decoding import llama_parameters
from registry.routing import Model, RoutingManifest
from supply_chain.recipe.prompt import JinjaPrompt, PlainPrompt

_QUOTES = '"""'


def compile_ollama(manifest: RoutingManifest) -> Compiled:
    """`NAME.Modelfile` for each model: `ollama create NAME -f NAME.Modelfile`. Ollama itself routes nothing."""
    files: dict[str, str] = {}
    lost: list[str] = []
    for model in manifest.models:
        if not is_gguf(model):
            lost.append(left_out(model, f"Ollama serves GGUF and its weights are {model.artifact.format}"))
            continue
        folder, todo = folder_of(model.name, model.artifact.uri)
        if "\n" in folder or '"' in folder:
            lost.append(left_out(model, "a Modelfile cannot hold a path with quotes or line ends"))
            continue
        template, faults = _template(model)
        lost += todo + faults
        files[f"{model.name}.Modelfile"] = "\n".join([
            head(manifest) + f"# {model.name} version {model.mlflow.version}, sha256 {model.artifact.sha256}",
            f"FROM {folder}/{FILE}",
            *template,
            f"PARAMETER num_ctx {model.context_tokens}",
            *_parameters(model),
            *_licences(model),
            "",
        ])  # fmt: skip
    lost += [f"{route.task}: Ollama knows no tasks: call the model by its name" for route in manifest.routes]
    lost += [f"{manifest.fallback.name}: Ollama passes nothing on to the generalist"]
    return Compiled(files, lost + losses(manifest, "Ollama", {"context", "decoding"}))


def _template(model: Model) -> tuple[list[str], list[str]]:
    """The text alone between the prompt's parts, as in training; a chat prompt uses the weights' own template."""
    block = model.prompt.block
    if isinstance(block, JinjaPrompt):
        as_it_is = f"TEMPLATE {_QUOTES}{{{{ .Prompt }}}}{_QUOTES}"
        return [as_it_is], [f"{model.name}: its prompt is a Jinja template: render it before calling"]
    if not isinstance(block, PlainPrompt):
        said = [f"SYSTEM {_QUOTES}{block.instruction}{_QUOTES}"] if _QUOTES not in block.instruction else []
        return said, [] if said else [f"{model.name}: its instruction holds three quotes: give it as system message"]
    if any(mark in block.before + block.after for mark in ("{{", "}}", _QUOTES)):
        return [], [f"{model.name}: its prompt holds marks of Ollama's templates: render it before calling"]
    return [f"TEMPLATE {_QUOTES}{block.before}{{{{ .Prompt }}}}{block.after}{_QUOTES}"], []


def _parameters(model: Model) -> list[str]:
    if model.decoding is None:
        return []
    room = [f"PARAMETER num_predict {model.decoding.max_new_tokens}"] if model.decoding.max_new_tokens else []
    return [*(f"PARAMETER {name} {value:g}" for name, value in llama_parameters(model).items()), *room]


def _licences(model: Model) -> list[str]:
    names = dict.fromkeys(origin.license for origin in model.origins)
    return [f"LICENSE {_QUOTES}{name.replace(_QUOTES, '')}{_QUOTES}" for name in names]
