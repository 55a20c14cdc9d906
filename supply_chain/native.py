"""What models share that score and write by themselves, without torch."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class Config:
    """Of a model's configuration what is asked of it here."""

    max_position_embeddings: int


def log_softmax(logits: np.ndarray) -> np.ndarray:
    """Log-probabilities of logits [..., vocabulary]."""
    shifted = logits - logits.max(axis=-1, keepdims=True)
    found: np.ndarray = shifted - np.log(np.exp(shifted).sum(axis=-1, keepdims=True))
    return found


def write_on(
    logits: np.ndarray,
    after: Callable[[list[int]], np.ndarray],
    room: int,
    ends: int,
    told: Callable[[list[int]], bool],
    pick: Callable[[np.ndarray], int],
) -> list[float]:
    """Writes from `logits` [vocabulary] on, each token picked from its logits; returns every token's log-likelihood.

    `after` gives the logits after what was written; `told` says when to stop, as the token `ends` and `room` tokens do.
    """
    likelihoods: list[float] = []
    written: list[int] = []
    while len(written) < room:
        token = pick(logits)
        if token == ends:
            break
        likelihoods.append(float(log_softmax(logits)[token]))
        written.append(token)
        if told(written):
            break
        logits = after(written)
    return likelihoods
