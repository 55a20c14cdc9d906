"""Exact match: the same characters, white space folded."""

from evals.scorers.scorer import MeanScorer


class Exact(MeanScorer):
    """1 for the very text, else 0."""

    def score(self, row: str, truth: str, answer: str) -> float | None:
        """Whether both are the same text."""
        return float(truth.split() == answer.split())
