"""BLEU of the whole corpus (Papineni et al. 2002; Post 2018), from `sacrebleu`, tokenization 13a."""

from collections.abc import Sequence

import numpy as np
from sacrebleu.metrics import BLEU

from evals.metrics import Floats

_ORDERS = 4


class CorpusBleu:
    """Matched and all n-grams of one to four words, and both lengths; 0 to 1, zeros smoothed exponentially."""

    columns = 2 * _ORDERS + 2

    def __init__(self) -> None:
        self._bleu = BLEU(effective_order=True)

    def counts(self, row: str, truth: str, answer: str) -> Sequence[float] | None:
        """Matched n-grams, all n-grams, words of the answer, words of the truth."""
        found = self._bleu.sentence_score(answer, [truth])
        return (*found.counts, *found.totals, found.sys_len, found.ref_len)

    def value(self, sums: Floats) -> Floats:
        """BLEU of each draw."""
        return np.array([self._one(row.astype(int).tolist()) for row in sums], dtype=np.float64)

    def _one(self, sums: list[int]) -> float:
        right, every, (said, true) = sums[:_ORDERS], sums[_ORDERS : 2 * _ORDERS], sums[2 * _ORDERS :]
        found = BLEU.compute_bleu(right, every, said, true, smooth_method="exp", effective_order=True)
        return float(found.score) / 100
