"""Runs a `.pte` with ExecuTorch's runtime, from its folder alone."""

import time
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from supply_chain.cached import CachedModel
from supply_chain.errors import CorruptData
from supply_chain.formats.extras import library
from supply_chain.loaded import Loaded

FILE, METHOD, CONTEXT = "model.pte", "forward", "get_max_seq_len"


def open_executorch(path: Path, threads: int) -> Loaded:
    """Loads `path / "model.pte"`. Raises CorruptData for a file that the runtime refuses, Unavailable without it."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # that its Python interface may change
        runtime = library("executorch", str(path / FILE))
    from executorch.extension.pybindings.portable_lib import _unsafe_reset_threadpool  # noqa: PLC0415
    from transformers import AutoTokenizer  # noqa: PLC0415

    start = time.perf_counter()
    _unsafe_reset_threadpool(threads)  # unsafe while a model runs
    try:
        tokenizer = AutoTokenizer.from_pretrained(path, local_files_only=True, trust_remote_code=False)
        program = runtime.Runtime.get().load_program(path / FILE)
        (context,) = program.load_method(CONTEXT).execute([])
        model = ExecutorchModel(program, int(context))
    except (OSError, ValueError, RuntimeError, AttributeError) as error:
        raise CorruptData(f"{path} holds no model that ExecuTorch can load: {error}") from error
    return Loaded(model, tokenizer, time.perf_counter() - start)


class ExecutorchModel(CachedModel):
    """A program, which keeps keys and values itself: what stands behind a context's length is written over."""

    def __init__(self, program: Any, context_tokens: int):
        super().__init__(context_tokens, None)
        self.method = program.load_method(METHOD)

    def shortened(self, cache: None, tokens: int) -> None:
        """See `CachedModel`."""

    def run(self, tokens: Sequence[int], cache: None, length: int, last: bool) -> tuple[np.ndarray, None]:
        """See `CachedModel`."""
        import torch  # noqa: PLC0415 (loaded by the runtime)

        places = torch.arange(length, length + len(tokens))
        (logits,) = self.method.execute([torch.tensor([list(tokens)]), places])
        return logits[0, -1 if last else 0 :].numpy(), None
