"""Likeness of meaning: the cosine of static embeddings (`pip install '.[noise]'`)."""

from evals.scorers.scorer import MeanScorer
from supply_chain.data.embeddings import embed


class Similarity(MeanScorer):
    """Cosine of WordLlama's vectors, negative ones as 0. It reads words, not facts: 20 $ and 90 $ are much alike."""

    def score(self, row: str, truth: str, answer: str) -> float | None:
        """The row's cosine; None where the truth has no words that the embedding knows."""
        true, said = embed([truth, answer])
        return max(0.0, min(1.0, float(true @ said))) if true.any() else None
