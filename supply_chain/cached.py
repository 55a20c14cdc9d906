"""A decoder that keeps what it read: what a context shares with the one before it is not computed again."""

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from supply_chain.native import Config, log_softmax, write_on


@dataclass(frozen=True)
class Read:
    """Tokens, what they left in the cache, and the logits after the last ones: [tokens, vocabulary]."""

    tokens: tuple[int, ...]
    cache: Any
    logits: np.ndarray


class CachedModel(ABC):
    """Scores and writes with whatever computes logits from tokens and a cache that is never changed in place."""

    def __init__(self, context_tokens: int, empty: Any):
        self.config = Config(context_tokens)
        self.last = Read((), empty, np.zeros((0, 0)))

    @abstractmethod
    def shortened(self, cache: Any, tokens: int) -> Any:
        """A cache with its first tokens only."""

    @abstractmethod
    def run(self, tokens: Sequence[int], cache: Any, length: int, last: bool) -> tuple[np.ndarray, Any]:
        """Logits after each of the tokens that follow a cache of `length` tokens, or after the last one only, and the
        longer cache."""

    def branch(self, context: Sequence[int], answers: Sequence[Sequence[int]]) -> list[float]:
        """Log-likelihood (nats) of each answer after `context`, which is read once."""
        self._read(context)
        after = {start: self._run(start, self.last) for start in {tuple(a[:-1]) for a in answers} if start}
        found = []
        for answer in answers:
            more = after[tuple(answer[:-1])].logits if len(answer) > 1 else self.last.logits[:0]
            scores = log_softmax(np.concatenate([self.last.logits[-1:], more]))
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

        def after(written: list[int]) -> np.ndarray:
            nonlocal read
            read = self._run((written[-1],), read)
            return read.logits[-1]

        return write_on(read.logits[-1], after, room, ends, told, pick)

    def _read(self, context: Sequence[int]) -> None:
        kept = 0
        while kept < min(len(self.last.tokens), len(context) - 1) and self.last.tokens[kept] == context[kept]:
            kept += 1
        start = Read(tuple(context[:kept]), self.shortened(self.last.cache, kept), self.last.logits)
        self.last = self._run(tuple(context[kept:]), start, last=True)

    def _run(self, tokens: tuple[int, ...], before: Read, last: bool = False) -> Read:
        logits, cache = self.run(tokens, before.cache, len(before.tokens), last)
        return Read(before.tokens + tokens, cache, logits.astype(np.float64))
