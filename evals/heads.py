"""Scores models that answer with a head of labels: one forward pass a text, no words to rank."""

import time
from collections.abc import Sequence

from supply_chain.inference import Loaded
from supply_chain.prompt import Renderer
from supply_chain.scoring import label_likelihoods


class HeadScorer:
    """A loaded model with a head that also notes the seconds spent scoring."""

    def __init__(self, loaded: Loaded, renderer: Renderer):
        self.loaded, self.renderer, self.seconds = loaded, renderer, 0.0

    def score(self, texts: Sequence[str]) -> list[list[float]]:
        """Log-probability of every label, as the served model computes it: [texts, labels]."""
        start = time.perf_counter()
        found = label_likelihoods(self.loaded, self.renderer, texts)
        self.seconds += time.perf_counter() - start
        return found
