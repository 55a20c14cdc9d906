"""chrF2: F2 of character n-grams (Popović 2015), from `sacrebleu`, averaged over rows."""

from sacrebleu.metrics import CHRF

from evals.scorers.scorer import MeanScorer


class Chrf(MeanScorer):
    """0 to 1; needs no words, so it serves every script."""

    def __init__(self) -> None:
        self._chrf = CHRF()

    def score(self, row: str, truth: str, answer: str) -> float | None:
        """The row's chrF2."""
        return float(self._chrf.sentence_score(answer, [truth]).score) / 100
