"""What is loaded to answer: torch models and llama.cpp's alike. Neither library is imported here."""

import math
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Loaded:
    """A model in eval mode, its tokenizer and the seconds that loading took."""

    model: Any
    tokenizer: Any
    load_seconds: float

    @property
    def context_tokens(self) -> int:
        """The most tokens that the model reads."""
        return int(self.model.config.max_position_embeddings)

    @property
    def native(self) -> bool:
        """Whether the model scores and writes by itself (llama.cpp), without torch."""
        return hasattr(self.model, "branch")


@dataclass(frozen=True)
class Written:
    """What a model wrote, its log-likelihood (nats), and its tokens (the end token is in neither)."""

    text: str
    likelihood: float
    tokens: int

    def confidence(self, a_token: bool) -> float:
        """Probability of what was written; with `a_token` the geometric mean over its tokens, whatever its length."""
        return math.exp(self.likelihood / max(self.tokens, 1) if a_token else self.likelihood)


def has_head(model: Any) -> bool:
    """Whether a linear layer over the last token's state answers, instead of the model's own words."""
    return hasattr(model, "score")
