"""ROUGE-L (Lin 2004, "ROUGE: A Package for Automatic Evaluation of Summaries"), from Google's `rouge_score`."""

import re

from rouge_score.rouge_scorer import RougeScorer
from rouge_score.tokenizers import Tokenizer

from evals.scorers.scorer import MeanScorer

_WORD = re.compile(r"\w+")


class RougeL(MeanScorer):
    """F1 of the longest common subsequence of words.

    Words are runs of letters and digits of any script: the library's own keep Latin letters alone, so that
    an Arabic answer would score 0 whatever it says.
    """

    def __init__(self) -> None:
        self._scorer = RougeScorer(["rougeL"], tokenizer=_Words())

    def score(self, row: str, truth: str, answer: str) -> float | None:
        """The row's F1; None where the truth holds no word."""
        if not _WORD.search(truth):
            return None
        return float(self._scorer.score(truth, answer)["rougeL"].fmeasure)


class _Words(Tokenizer):
    def tokenize(self, text: str) -> list[str]:
        return _WORD.findall(text.lower())
