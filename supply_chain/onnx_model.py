"""Runs an ONNX decoder with onnxruntime, from its folder alone; torch is not imported."""

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

FILE = "model.onnx"
_PAST = "past_key_values"


def open_onnx(path: Path, threads: int) -> Loaded:
    """Loads `path / "model.onnx"`. Raises CorruptData for files that onnxruntime refuses, Unavailable without it."""
    runtime = library("onnx", str(path / FILE))
    from transformers import AutoTokenizer  # noqa: PLC0415

    start = time.perf_counter()
    options = runtime.SessionOptions()
    options.intra_op_num_threads, options.log_severity_level = threads, 3
    try:
        told = json.loads((path / "genai_config.json").read_text(encoding="utf-8"))
        tokenizer = AutoTokenizer.from_pretrained(path, local_files_only=True, trust_remote_code=False)
        session = runtime.InferenceSession(str(path / FILE), options, providers=["CPUExecutionProvider"])
    except _refusals(runtime) as error:
        raise CorruptData(f"{path} holds no model that onnxruntime can load: {error}") from error
    return Loaded(OnnxModel(session, told["model"]), tokenizer, time.perf_counter() - start)


def _refusals(runtime: Any) -> tuple[type[Exception], ...]:
    """What a broken folder raises; onnxruntime's own exceptions share no root but Exception."""
    known = vars(runtime.capi.onnxruntime_pybind11_state).values()
    found = [kind for kind in known if isinstance(kind, type) and issubclass(kind, Exception)]
    return (OSError, ValueError, KeyError, *found)


class OnnxModel(CachedModel):
    """A session, and what it reads and returns beside logits: keys and values [1, heads, tokens, size] by name."""

    def __init__(self, session: Any, told: dict[str, Any]):
        nothing = np.zeros((1, told["decoder"]["num_key_value_heads"], 0, told["decoder"]["head_size"]), np.float32)
        empty = {entry.name: nothing for entry in session.get_inputs() if entry.name.startswith(_PAST)}
        super().__init__(int(told["context_length"]), empty)
        self.session, self.names = session, list(empty)
        self.outputs = ["logits", *(name.replace(_PAST, "present") for name in empty)]

    def shortened(self, cache: dict[str, np.ndarray], tokens: int) -> dict[str, np.ndarray]:
        """See `CachedModel`."""
        return {name: values[:, :, :tokens] for name, values in cache.items()}

    def run(self, tokens: Sequence[int], cache: Any, length: int, last: bool) -> tuple[np.ndarray, Any]:
        """See `CachedModel`."""
        ids = np.array([tokens], dtype=np.int64)
        mask = np.ones((1, length + len(tokens)), dtype=np.int64)
        raw, *found = self.session.run(self.outputs, {"input_ids": ids, "attention_mask": mask, **cache})
        return raw[0, -1 if last else 0 :], dict(zip(self.names, found, strict=True))
