"""MLX's own 4-bit safetensors for Apple silicon, made and run by mlx-lm; embeddings and output layer are packed, too.

transformers 5 writes rotary settings below `rope_parameters`, where mlx-lm does not look: it would take its default
and answer with another model. They are written where it does.
"""

import json
import shutil
from collections.abc import Iterator
from contextlib import redirect_stdout
from io import StringIO
from pathlib import Path
from typing import Any

import numpy as np
import torch

from supply_chain.errors import InvalidInput
from supply_chain.formats.extras import library, needed
from supply_chain.recipe.quantize import Mlx

_GENERATION = "generation_config.json"


def write_mlx(source: Path, folder: Path, scheme: Mlx) -> None:
    """Writes `source` (bf16 safetensors) to `folder`.

    Raises InvalidInput for a model that mlx-lm does not know or a group does not divide, Unavailable without the extra.
    """
    needed(scheme)
    from mlx_lm.utils import load_model, quantize_model, save_config, save_model  # noqa: PLC0415 (from the extra)

    try:
        model, config = load_model(source, model_config=rotary(source))
    except ValueError as error:
        raise InvalidInput(f"quantize: mlx-lm refuses the model: {error}: take another scheme") from error
    with redirect_stdout(StringIO()):  # it prints
        model, config = quantize_model(model, config, scheme.group_size, scheme.bits)
    left = [name for name, module in model.named_modules() if hasattr(module, "to_quantized")]
    if left:
        told = f"{scheme.group_size} does not divide the inputs of {left[0]}: set group_size to a divisor of all"
        raise InvalidInput(f"quantize: mlx: {told}")
    save_model(folder, model)
    save_config(config, folder / "config.json")
    if (source / _GENERATION).exists():
        shutil.copyfile(source / _GENERATION, folder / _GENERATION)


def rotary(source: Path) -> dict[str, Any]:
    """The rotary settings of transformers' `config.json` as mlx-lm reads them."""
    told = json.loads((source / "config.json").read_text(encoding="utf-8")).get("rope_parameters") or {}
    scaling = {name: value for name, value in told.items() if name != "rope_theta"}
    found = {"rope_theta": told["rope_theta"]} if "rope_theta" in told else {}
    return {**found, "rope_scaling": None if scaling.get("rope_type", "default") == "default" else scaling}


def read_matrices(folder: Path, names: list[str]) -> Iterator[tuple[str, torch.Tensor]]:
    """Matrices by their names in safetensors, dequantized."""
    library("mlx", str(folder))
    import mlx.core as mx  # noqa: PLC0415 (comes with the extra)

    told = json.loads((folder / "config.json").read_text(encoding="utf-8"))["quantization"]
    files: list[Any] = [mx.load(str(path)) for path in sorted(folder.glob("*.safetensors"))]
    stored = {key: value for file in files for key, value in file.items()}
    for name in names:
        layer = name.removesuffix(".weight")
        weight, scales, biases = (stored[f"{layer}.{part}"] for part in ("weight", "scales", "biases"))
        full = mx.dequantize(weight, scales, biases, group_size=told["group_size"], bits=told["bits"])
        yield name, torch.from_numpy(np.array(full.astype(mx.float32)))
