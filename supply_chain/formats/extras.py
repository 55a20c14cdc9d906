"""What a format needs beyond the core, and the line that installs it."""

from importlib import import_module
from importlib.util import find_spec
from typing import Any

from supply_chain.errors import Unavailable
from supply_chain.recipe import Recipe
from supply_chain.recipe.quantize import Scheme

_LIBRARIES = {
    "gguf": ("cyllama", "cyllama.llama.llama_cpp"),
    "compressed-tensors": ("compressed-tensors", "compressed_tensors"),
    "onnx": ("onnxruntime-genai", "onnxruntime"),
    "mlx": ("mlx-lm", "mlx_lm"),
    "executorch": ("executorch", "executorch.runtime"),
}
"""By extra: the distribution, and the module that is used of it."""
_LINES = {"executorch": "pip install --no-deps executorch==1.5.1 torchao==0.18.0 ruamel.yaml==0.19.1"}
"""What pip's extras cannot say: ExecuTorch requires hydra-core, which is not used here, and so an ANTLR that is too old
for Dagster."""


def needed(scheme: Scheme) -> Any:
    """The module that makes and runs a scheme. Raises Unavailable with the line that installs it."""
    return library(scheme.extra, f"quantize: {scheme.name}")


def library(extra: str, wanted_by: str) -> Any:
    """The module behind an extra. Raises Unavailable with the line that installs it."""
    package, module = _LIBRARIES[extra]
    try:
        return import_module(module)
    except ImportError as error:
        raise Unavailable(f"{wanted_by} needs {package}: {line_of(extra)} ({error})") from None


def line_of(extra: str) -> str:
    """What installs it."""
    return _LINES.get(extra, f"pip install '.[{extra}]'")


def check_extras(recipe: Recipe) -> None:
    """Raises Unavailable, before hours of training, when a scheme of the recipe cannot be made or judged here."""
    found = [s for s in recipe.quantize if s.extra and find_spec(_LIBRARIES[s.extra][1].partition(".")[0]) is None]
    if found:
        told = "; ".join(f"{s.name} needs {_LIBRARIES[s.extra][0]}: {line_of(s.extra)}" for s in found)
        raise Unavailable(f"quantize: {told}")
    if any(s.scheme == "mlx" for s in recipe.quantize) and not _accelerated():
        raise Unavailable(
            "quantize: mlx is judged where it serves, on Apple silicon (or CUDA): on this machine's processor MLX "
            "takes seconds for a token of a 135M model. Run the recipe there, or leave mlx out"
        )


def _accelerated() -> bool:
    import mlx.core as mx  # noqa: PLC0415 (comes with the extra)

    return bool(mx.metal.is_available() or mx.cuda.is_available())
