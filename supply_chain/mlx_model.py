"""Runs an MLX folder with mlx-lm, from that folder alone; torch is not imported."""

import json
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from supply_chain.cached import CachedModel
from supply_chain.errors import CorruptData
from supply_chain.formats.extras import library
from supply_chain.loaded import Loaded

_CONFIG = "config.json"


def is_mlx(path: Path) -> bool:
    """Whether a folder's weights are packed as MLX does it, which its configuration says if it can be read."""
    try:
        return "quantization" in json.loads((path / _CONFIG).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return False


def open_mlx(path: Path) -> Loaded:
    """Loads a folder. Raises CorruptData for files that mlx-lm refuses, Unavailable without it."""
    library("mlx", str(path))
    import mlx.core as mx  # noqa: PLC0415 (comes with the extra)
    from mlx_lm.utils import load_model  # noqa: PLC0415
    from transformers import AutoTokenizer  # noqa: PLC0415

    start = time.perf_counter()
    if not mx.metal.is_available():
        mx.disable_compile()  # would ask for a C++ compiler where the model answers
    try:
        told = json.loads((path / _CONFIG).read_text(encoding="utf-8"))
        tokenizer = AutoTokenizer.from_pretrained(path, local_files_only=True, trust_remote_code=False)
        model, _ = load_model(path)
    except (OSError, ValueError, KeyError, RuntimeError, TypeError) as error:
        raise CorruptData(f"{path} holds no model that mlx-lm can load: {error}") from error
    return Loaded(MlxModel(model, int(told["max_position_embeddings"])), tokenizer, time.perf_counter() - start)


class MlxModel(CachedModel):
    """A model; its cache holds keys and values [1, heads, tokens, size] of every layer."""

    def __init__(self, model: Any, context_tokens: int):
        super().__init__(context_tokens, [(None, None)] * len(model.layers))
        self.model = model

    def shortened(self, cache: list[tuple[Any, Any]], tokens: int) -> list[tuple[Any, Any]]:
        """See `CachedModel`."""
        if tokens == 0:
            return [(None, None)] * len(cache)
        return [(keys[:, :, :tokens], values[:, :, :tokens]) for keys, values in cache]

    def run(self, tokens: Sequence[int], cache: Any, length: int, last: bool) -> tuple[np.ndarray, Any]:
        """See `CachedModel`."""
        import mlx.core as mx  # noqa: PLC0415
        from mlx_lm.models.cache import ConcatenateKVCache  # noqa: PLC0415

        layers = [ConcatenateKVCache() for _ in cache]
        for layer, (keys, values) in zip(layers, cache, strict=True):
            layer.keys, layer.values, layer.offset = keys, values, length
        logits = self.model(mx.array([list(tokens)]), cache=layers)[0, -1 if last else 0 :]
        return np.array(logits.astype(mx.float32)), [(layer.keys, layer.values) for layer in layers]
