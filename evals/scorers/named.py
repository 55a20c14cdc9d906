"""Every scorer of written texts by the metric's name; libraries are imported where they are needed."""

from collections.abc import Callable

from evals.scorers.scorer import Scorer


def scorer_of(metric: str) -> Scorer:
    """The scorer of a metric. Raises Unavailable where its library is missing."""
    return _SCORERS[metric]()


def _exact() -> Scorer:
    from evals.scorers.exact import Exact  # noqa: PLC0415

    return Exact()


def _rouge_l() -> Scorer:
    from evals.scorers.rouge import RougeL  # noqa: PLC0415 (brings nltk)

    return RougeL()


def _bleu() -> Scorer:
    from evals.scorers.bleu import CorpusBleu  # noqa: PLC0415

    return CorpusBleu()


def _chrf() -> Scorer:
    from evals.scorers.chrf import Chrf  # noqa: PLC0415

    return Chrf()


def _similarity() -> Scorer:
    from evals.scorers.similarity import Similarity  # noqa: PLC0415 (an extra)

    return Similarity()


_SCORERS: dict[str, Callable[[], Scorer]] = {
    "exact_match": _exact,
    "rouge_l": _rouge_l,
    "bleu": _bleu,
    "chrf": _chrf,
    "similarity": _similarity,
}
