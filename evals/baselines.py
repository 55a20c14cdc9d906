"""What a specialist must beat: always the same answer, and word counts or static embeddings with a linear model."""

import json
import time
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from evals.keys import answers_key
from evals.predictions import Answer, sampled_test, write_answers, write_predictions
from evals.timing import peak_memory_bytes, time_decisions
from supply_chain.data.examples import read_split
from supply_chain.errors import InvalidInput
from supply_chain.identity import canonical_json
from supply_chain.recipe import Recipe
from supply_chain.records import Example, Predictions, Splits
from supply_chain.store import Store, Stored

Shares = Sequence[Sequence[float]]


@dataclass(frozen=True)
class Fitted:
    """A baseline: texts to probabilities [texts, labels], and the bytes of its parameters.

    One that always gives the same written `answer` has its probability alone.
    """

    shares: Callable[[Sequence[str]], Shares]
    size_bytes: int
    answer: str | None = None


def predict_baseline(name: str, splits: Stored[Splits], recipe: Recipe, seed: int, store: Store) -> Stored[Predictions]:
    """Fits `majority`, `tfidf` or `static` on train and validation, and answers the test rows.

    Raises InvalidInput for another name.
    """
    known = _FIT if recipe.task == "classification" else ("majority",)
    if name not in known:
        raise InvalidInput(f"no baseline {name!r} for {recipe.task}; known: {', '.join(known)}")
    key = answers_key(name, "", splits, recipe, seed)
    return store.once(Predictions, key, lambda folder: _predict(name, splits, recipe, seed, folder))


def _predict(name: str, splits: Stored[Splits], recipe: Recipe, seed: int, folder: Path) -> Predictions:
    rows, labels = sampled_test(splits.verify(), recipe.evaluate, seed), splits.record.labels
    seen = [*read_split(splits, "train"), *read_split(splits, "validation")]
    start = time.perf_counter()
    fitted = _fit(name, recipe, seen, labels)
    ready = time.perf_counter()
    shares = fitted.shares([row.text for row in rows])
    done = time.perf_counter()
    if fitted.answer is None:
        write_predictions(folder, rows, labels, shares)
    else:
        write_answers(folder, rows, [Answer(fitted.answer, share[0], fitted.answer) for share in shares])
    latency = time_decisions(lambda text: fitted.shares([text]), [r.text for r in rows], recipe.evaluate.latency_rows)
    return Predictions(
        contestant=name,
        model_digest="",
        splits_digest=splits.digest,
        labels=labels,
        task=recipe.task,
        rows=len(rows),
        p50_ms=latency.p50_ms,
        p95_ms=latency.p95_ms,
        size_bytes=fitted.size_bytes,
        peak_memory_bytes=peak_memory_bytes(),
        load_seconds=ready - start,
        decisions_per_second=len(rows) / (done - ready),
    )


def _fit(name: str, recipe: Recipe, seen: list[Example], labels: list[str]) -> Fitted:
    if recipe.task == "classification":
        return _FIT[name](seen, labels)
    return _frequent(seen) if recipe.task == "generation" else _usual(seen)


def _frequent(examples: list[Example]) -> Fitted:
    """The text that answers most often; of equally frequent ones the first."""
    ((answer, times),) = Counter(example.label for example in examples).most_common(1)
    return Fitted(lambda texts: [[times / len(examples)]] * len(texts), len(answer.encode()), answer)


def _majority(examples: list[Example], labels: list[str]) -> Fitted:
    counts = Counter(example.label for example in examples)
    shares = [counts[label] / len(examples) for label in labels]
    return Fitted(lambda texts: [shares] * len(texts), max(len(label.encode()) for label in labels))


def _usual(examples: list[Example]) -> Fitted:
    """Every label that most rows have, or every field that most rows have with its most frequent value."""
    answers = [json.loads(example.label) for example in examples]
    values = Counter((k, canonical_json(v)) for a in answers if isinstance(a, dict) for k, v in a.items())
    names = [name for name, n in Counter(k for a in answers for k in a).items() if 2 * n > len(answers)]
    often: dict[str, str] = {}
    for (name, value), _ in values.most_common():
        often.setdefault(name, value)
    fields = {name: json.loads(often[name]) for name in names if name in often}
    answer = canonical_json(fields if values else sorted(names))
    share = sum(canonical_json(a) == answer for a in answers) / len(answers)
    return Fitted(lambda texts: [[share]] * len(texts), len(answer.encode()), answer)


def _tfidf(examples: list[Example], labels: list[str]) -> Fitted:
    from sklearn.feature_extraction.text import TfidfVectorizer  # noqa: PLC0415 (a second)
    from sklearn.linear_model import LogisticRegression  # noqa: PLC0415

    words = TfidfVectorizer(ngram_range=(1, 2), sublinear_tf=True)
    linear = LogisticRegression(C=10, max_iter=1000, class_weight="balanced")
    linear.fit(words.fit_transform([e.text for e in examples]), [e.label for e in examples])
    column = {label: i for i, label in enumerate(linear.classes_)}
    known, seen = [column[label] for label in labels if label in column], [label in column for label in labels]
    parameters = (linear.coef_, linear.intercept_, words.idf_)
    size_bytes = sum(a.nbytes for a in parameters) + sum(len(term.encode()) + 8 for term in words.vocabulary_)

    def shares(texts: Sequence[str]) -> Shares:
        found = np.zeros((len(texts), len(labels)))  # a label without a row to learn from is never likely
        found[:, seen] = linear.predict_proba(words.transform(texts))[:, known]
        shares: Shares = found.tolist()
        return shares

    return Fitted(shares, size_bytes)


def _static(examples: list[Example], labels: list[str]) -> Fitted:
    """Logistic regression over static embeddings; the embedding's own table counts as size, too."""
    from sklearn.linear_model import LogisticRegression  # noqa: PLC0415 (a second)

    from supply_chain.data.embeddings import embed, wordllama_folder  # noqa: PLC0415 (an extra)

    linear = LogisticRegression(C=10, max_iter=1000, class_weight="balanced")
    linear.fit(embed([e.text for e in examples]), [e.label for e in examples])
    column = {label: i for i, label in enumerate(linear.classes_)}
    order = [column[label] for label in labels]
    table = sum(path.stat().st_size for path in (wordllama_folder() / "weights").rglob("*") if path.is_file())

    def shares(texts: Sequence[str]) -> Shares:
        found: Shares = linear.predict_proba(embed(list(texts)))[:, order].tolist()
        return found

    return Fitted(shares, table + linear.coef_.nbytes + linear.intercept_.nbytes)


_FIT: dict[str, Callable[[list[Example], list[str]], Fitted]] = {
    "majority": _majority,
    "tfidf": _tfidf,
    "static": _static,
}
