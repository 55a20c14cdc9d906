"""Runs an ONNX decoder with onnxruntime, from its folder alone; torch is not imported."""

import json
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

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


@dataclass(frozen=True)
class _Config:
    max_position_embeddings: int


@dataclass(frozen=True)
class _Read:
    """Tokens, what they left in the cache, and the logits after the last ones: [tokens, vocabulary]."""

    tokens: tuple[int, ...]
    cache: dict[str, np.ndarray]
    logits: np.ndarray


class OnnxModel:
    """A decoder and its cache. Leading tokens that a context shares with the one before it are not computed again."""

    def __init__(self, session: Any, told: dict[str, Any]):
        self.session, self.config = session, _Config(int(told["context_length"]))
        nothing = np.zeros((1, told["decoder"]["num_key_value_heads"], 0, told["decoder"]["head_size"]), np.float32)
        names = [entry.name for entry in session.get_inputs()]
        self.empty = {name: nothing for name in names if name.startswith(_PAST)}
        self.outputs = ["logits", *(name.replace(_PAST, "present") for name in self.empty)]
        self.last = _Read((), self.empty, np.zeros((0, 0)))

    def branch(self, context: Sequence[int], answers: Sequence[Sequence[int]]) -> list[float]:
        """Log-likelihood (nats) of each answer after `context`, which is read once."""
        self._read(context)
        after = {start: self._run(start, self.last) for start in {tuple(a[:-1]) for a in answers} if start}
        found = []
        for answer in answers:
            more = after[tuple(answer[:-1])].logits if len(answer) > 1 else self.last.logits[:0]
            scores = _shares(np.concatenate([self.last.logits[-1:], more]))
            found.append(float(sum(row[token] for row, token in zip(scores, answer, strict=True))))
        return found

    def write(
        self,
        context: Sequence[int],
        room: int,
        ends: int,
        told: Callable[[list[int]], bool],
        pick: Callable[[np.ndarray], int],
    ) -> list[float]:
        """Writes after `context`, each token picked from its logits; returns the log-likelihood of every token.

        `told` says when to stop.
        """
        self._read(context)
        read = self.last
        likelihoods: list[float] = []
        written: list[int] = []
        while len(written) < room:
            token = pick(read.logits[-1])
            if token == ends:
                break
            likelihoods.append(float(_shares(read.logits[-1])[token]))
            written.append(token)
            if told(written):
                break
            read = self._run((token,), read)
        return likelihoods

    def _read(self, context: Sequence[int]) -> None:
        kept = 0
        while kept < min(len(self.last.tokens), len(context) - 1) and self.last.tokens[kept] == context[kept]:
            kept += 1
        cache = {name: values[:, :, :kept] for name, values in self.last.cache.items()}
        start = _Read(tuple(context[:kept]), cache, self.last.logits)
        self.last = self._run(tuple(context[kept:]), start, last=True)

    def _run(self, tokens: tuple[int, ...], before: _Read, last: bool = False) -> _Read:
        ids = np.array([tokens], dtype=np.int64)
        mask = np.ones((1, len(before.tokens) + len(tokens)), dtype=np.int64)
        raw, *cache = self.session.run(self.outputs, {"input_ids": ids, "attention_mask": mask, **before.cache})
        logits = raw[0, -1 if last else 0 :].astype(np.float64)
        return _Read(before.tokens + tokens, dict(zip(self.empty, cache, strict=True)), logits)


def _shares(logits: np.ndarray) -> np.ndarray:
    """Log-probabilities of logits [..., vocabulary]."""
    shifted = logits - logits.max(axis=-1, keepdims=True)
    found: np.ndarray = shifted - np.log(np.exp(shifted).sum(axis=-1, keepdims=True))
    return found
