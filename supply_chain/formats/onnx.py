"""ONNX with 4-bit weights, run by onnxruntime. onnxruntime-genai's model builder writes it, in a process of its own.

Llama, Mistral, Qwen2 and Qwen3, embeddings and output layer in 4 bits, too; where they are tied, they are stored once.
"""

import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import torch

from supply_chain.errors import InvalidInput
from supply_chain.formats.extras import library, needed
from supply_chain.onnx_model import FILE
from supply_chain.recipe.quantize import Onnx

_ARCHITECTURES = ("LlamaForCausalLM", "MistralForCausalLM", "Qwen2ForCausalLM", "Qwen3ForCausalLM")


def write_onnx(source: Path, folder: Path, scheme: Onnx) -> None:
    """Writes `source` (bf16 safetensors with its tokenizer) as `folder / "model.onnx"` and its data.

    Raises InvalidInput for a model that the builder does not take, Unavailable without the extra.
    """
    needed(scheme)
    config = json.loads((source / "config.json").read_text(encoding="utf-8"))
    name = (config.get("architectures") or ["none"])[0]
    if name not in _ARCHITECTURES:
        raise InvalidInput(
            f"quantize: onnx needs one of {', '.join(_ARCHITECTURES)}, found {name}: take another scheme"
        )
    options = [f"block_size={scheme.block_size}", "is_symmetric=false", "algo_config=k_quant", "fuse_qkv=false"]
    options += ["shared_embeddings=true"] if config.get("tie_word_embeddings") else []
    command = [sys.executable, "-m", "onnxruntime_genai.models.builder", "-i", source, "-o", folder]
    with tempfile.TemporaryDirectory() as cache:
        told = subprocess.run(  # noqa: S603 (our own interpreter)
            [*map(str, command), "-p", "int4", "-e", "cpu", "-c", cache, "--extra_options", *options],
            env={**os.environ, "HF_HUB_OFFLINE": "1"},
            capture_output=True,
            text=True,
            check=False,
        )
    if told.returncode or not (folder / FILE).exists():
        last = told.stderr.strip().rpartition("\n")[2]
        raise InvalidInput(f"quantize: onnx: the model builder refused {name}: {last[:300]}: take another scheme")


def read_matrices(folder: Path, names: list[str]) -> Iterator[tuple[str, torch.Tensor]]:
    """Matrices of `folder / "model.onnx"` by their names in safetensors, dequantized."""
    library("onnx", str(folder / FILE))
    import onnx  # noqa: PLC0415 (comes with the extra)

    stored = {tensor.name: tensor for tensor in onnx.load(folder / FILE).graph.initializer}
    for name in names:
        place = name.replace(".self_attn.", ".attn.").removesuffix("weight") + "MatMul.weight"
        codes = next(key for key in stored if key.startswith(f"{place}_Q4G"))
        read = (onnx.numpy_helper.to_array(stored[key]) for key in (codes, f"{place}_scale", f"{place}_zp"))
        yield name, torch.from_numpy(_dequantized(*read))


def _dequantized(codes: np.ndarray, scales: np.ndarray, zeros: np.ndarray) -> np.ndarray:
    """`MatMulNBits`: codes [outputs, blocks, bytes], zero points [outputs, bytes], two a byte, the lower half first."""
    values = np.stack([codes & 15, codes >> 4], axis=-1).reshape(*codes.shape[:2], -1).astype(np.float32)
    points = np.stack([zeros & 15, zeros >> 4], axis=-1).reshape(len(zeros), -1)[:, : scales.shape[1]]
    found: np.ndarray = (values - points[..., None]) * scales[..., None].astype(np.float32)
    return found.reshape(len(codes), -1)
