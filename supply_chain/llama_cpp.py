"""Runs a GGUF file with llama.cpp, from that file alone: tokenizer and chat template are inside it.

Bindings: cyllama. Torch is not imported, so that memory and load time are llama.cpp's own.
"""

import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from jinja2.sandbox import ImmutableSandboxedEnvironment

from supply_chain.decoding import Picker
from supply_chain.errors import CorruptData, InvalidInput
from supply_chain.formats.extras import library
from supply_chain.loaded import Loaded, Written
from supply_chain.native import Config, log_softmax, write_on
from supply_chain.recipe.decoding import Setting

FILE = "model.gguf"
_WINDOW = 1024
_SEQUENCES = 256  # llama.cpp's most


def open_gguf(path: Path, threads: int) -> Loaded:
    """Loads `path / "model.gguf"`. Raises CorruptData for a file that llama.cpp refuses, Unavailable without it."""
    llama = library("gguf", str(path / FILE))
    llama.disable_logging()
    start = time.perf_counter()

    class Model(llama.LlamaModel):  # type: ignore[name-defined]
        n_vocab = 0  # `get_logits_ith` reads it

    try:
        wanted = llama.LlamaModelParams()
        wanted.check_tensors = True
        model = Model(str(path / FILE), params=wanted)
    except (ValueError, RuntimeError, OSError) as error:
        raise CorruptData(f"{path / FILE} holds no model that llama.cpp can load: {error}") from error
    vocabulary = model.get_vocab()
    model.n_vocab = int(vocabulary.n_vocab)
    return Loaded(LlamaCpp(llama, model, threads), GgufTokenizer(model, vocabulary), time.perf_counter() - start)


class LlamaCpp:
    """A model and its cache. Leading tokens that a context shares with the one before it are not computed again."""

    def __init__(self, llama: Any, model: Any, threads: int):
        self.llama, self.model, self.threads = llama, model, threads
        self.config = Config(int(model.n_ctx_train))
        self.cached: list[int] = []
        self.room = 0

    def branch(self, context: Sequence[int], answers: Sequence[Sequence[int]]) -> list[float]:
        """Log-likelihood (nats) of each answer after `context`; shared starts of answers are computed once."""
        found = [0.0] * len(answers)
        first = log_softmax(self._read(context, sum(map(len, answers))))
        nodes: dict[tuple[int, ...], np.ndarray] = {(): first}
        inner = {tuple(answer[:depth]) for answer in answers for depth in range(1, len(answer))}
        for other in range(1, len(answers) if inner else 1):
            self.context.memory_seq_cp(0, other, 0, -1)
        for depth in sorted({len(node) for node in inner}):
            nodes |= self._nodes([node for node in sorted(inner) if len(node) == depth], answers, len(context))
        for i, answer in enumerate(answers):
            found[i] = float(sum(nodes[tuple(answer[:k])][token] for k, token in enumerate(answer)))
        for other in range(1, len(answers) if inner else 1):
            self.context.memory_seq_rm(other, -1, -1)
        self.context.memory_seq_rm(0, len(context), -1)
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

        def after(written: list[int]) -> np.ndarray:
            return self._decode([(written[-1], len(context) + len(written) - 1, [0])])[0]

        likelihoods = write_on(self._read(context, room), after, room, ends, told, pick)
        self.context.memory_seq_rm(0, len(context), -1)
        return likelihoods

    def _read(self, context: Sequence[int], more: int) -> np.ndarray:
        """Logits of the token after `context`: [vocabulary]."""
        self._make_room(len(context) + more)
        kept = 0
        while kept < min(len(self.cached), len(context) - 1) and self.cached[kept] == context[kept]:
            kept += 1
        self.context.memory_seq_rm(0, kept, -1)
        self.cached = list(context)
        tokens = [(token, kept + i, [0]) for i, token in enumerate(context[kept:])]
        return self._decode(tokens, last=True)[0]

    def _nodes(
        self, nodes: list[tuple[int, ...]], answers: Sequence[Sequence[int]], start: int
    ) -> dict[tuple[int, ...], np.ndarray]:
        owners = {node: [i for i, a in enumerate(answers) if tuple(a[: len(node)]) == node] for node in nodes}
        scores = self._decode([(node[-1], start + len(node) - 1, owners[node]) for node in nodes])
        return {node: log_softmax(found) for node, found in zip(nodes, scores, strict=True)}

    def _decode(self, tokens: Sequence[tuple[int, int, list[int]]], last: bool = False) -> list[np.ndarray]:
        """Runs tokens (id, position, sequences); logits after each, or after the last one only."""
        found = []
        for begin in range(0, len(tokens), _WINDOW):
            part = tokens[begin : begin + _WINDOW]
            wanted = [not last or begin + i == len(tokens) - 1 for i in range(len(part))]
            self.batch.clear()
            for (token, position, owners), scored in zip(part, wanted, strict=True):
                self.batch.add(token, position, owners, scored)
            self.context.decode(self.batch)
            places = [i for i, scored in enumerate(wanted) if scored]
            found += [np.array(self.context.get_logits_ith(i), dtype=np.float64) for i in places]
        return found

    def _make_room(self, tokens: int) -> None:
        if tokens <= self.room:
            return
        self.room = -(-tokens // _WINDOW) * _WINDOW
        wanted = self.llama.LlamaContextParams()
        wanted.n_ctx, wanted.n_batch, wanted.n_ubatch = self.room, _WINDOW, _WINDOW
        wanted.n_seq_max, wanted.kv_unified = _SEQUENCES, True
        wanted.n_threads = wanted.n_threads_batch = self.threads
        self.context = self.llama.LlamaContext(self.model, wanted)
        self.batch = self.llama.LlamaBatch(n_tokens=_WINDOW, embd=0, n_seq_max=_SEQUENCES)
        self.cached = []


class GgufTokenizer:
    """The file's own tokenizer and chat template, with the methods of transformers' that are used here."""

    def __init__(self, model: Any, vocabulary: Any):
        self.vocabulary = vocabulary
        keys = {model.meta_key_by_index(i) for i in range(model.meta_count())}
        self.chat_template = model.meta_val_str("tokenizer.chat_template") if "tokenizer.chat_template" in keys else ""
        self.bos_token_id = int(vocabulary.token_bos())
        self.eos_token_id = int(vocabulary.token_eos())
        self.bytes = _letters()

    def __call__(self, text: str, add_special_tokens: bool = False) -> dict[str, list[int]]:
        """Token ids; none is added."""
        return {"input_ids": self.encode(text)}

    def encode(self, text: str, add_special_tokens: bool = False) -> list[int]:
        """Token ids; none is added."""
        return list(self.vocabulary.tokenize(text, False, True)) if text else []

    def decode(self, ids: Sequence[int]) -> str:
        """The text of token ids, byte for byte (llama.cpp's own function trims it); control tokens have none."""
        texts = [self.vocabulary.get_text(token) for token in ids if not self.vocabulary.is_control(token)]
        return bytes(self.bytes.get(letter, 63) for letter in "".join(texts)).decode("utf-8", errors="replace")

    def convert_ids_to_tokens(self, token: int) -> str:
        """A token as the vocabulary writes it."""
        return str(self.vocabulary.get_text(token))

    def apply_chat_template(
        self, messages: list[dict[str, str]], tokenize: bool = False, add_generation_prompt: bool = True
    ) -> str:
        """Messages as the file's template renders them. Raises InvalidInput for a file without one."""
        if not self.chat_template:
            raise InvalidInput(f"{FILE} holds no chat template, but the prompt is a chat: make the file again")
        environment = ImmutableSandboxedEnvironment(trim_blocks=True, lstrip_blocks=True)
        named = {"bos_token": self.bos_token_id, "eos_token": self.eos_token_id}
        ends = {name: self.convert_ids_to_tokens(token) if token >= 0 else "" for name, token in named.items()}
        template = environment.from_string(self.chat_template)
        return template.render(messages=messages, add_generation_prompt=add_generation_prompt, **ends)


def _letters() -> dict[str, int]:
    """The byte behind each letter of a byte-level vocabulary (Radford et al. 2019)."""
    shown = [*range(33, 127), *range(161, 173), *range(174, 256)]
    hidden = [byte for byte in range(256) if byte not in shown]
    return {chr(b): b for b in shown} | {chr(256 + i): b for i, b in enumerate(hidden)}


class LlamaScorer:
    """Scores what llama.cpp would write for each label."""

    def __init__(self, loaded: Loaded, answers: Sequence[str]):
        self.model = loaded.model
        self.answers = [tuple(loaded.tokenizer.encode(answer)) for answer in answers]
        self.longest = max(map(len, self.answers))

    def score(self, contexts: Sequence[tuple[int, ...]]) -> list[list[float]]:
        """Log-likelihood of every label's answer: [contexts, labels]."""
        parts = [self.answers[i : i + _SEQUENCES] for i in range(0, len(self.answers), _SEQUENCES)]
        return [[x for part in parts for x in self.model.branch(context, part)] for context in contexts]


def write_all(
    loaded: Loaded, contexts: list[list[int]], room: int, complete: Callable[[str], bool], setting: Setting
) -> list[Written]:
    """The continuation of every context (token ids), in their order."""
    found, decode = [], loaded.tokenizer.decode
    for context in contexts:
        tokens: list[int] = []

        def told(written: list[int], tokens: list[int] = tokens) -> bool:
            tokens[:] = written
            return complete(decode(written))

        pick = Picker(setting, context).pick
        likelihoods = loaded.model.write(context, room, loaded.tokenizer.eos_token_id, told, pick)
        found.append(Written(decode(tokens), sum(likelihoods), len(tokens)))
    return found
