from collections import Counter

import pytest
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.linear_model import LogisticRegression

from evals.baselines import predict_baseline
from evals.predictions import read_predictions, sampled_test
from supply_chain.data.examples import read_split
from supply_chain.errors import InvalidInput


def test_majority_answers_the_most_frequent_training_label(tiny_splits, tiny_recipe, store):
    found = read_predictions(predict_baseline("majority", tiny_splits, tiny_recipe, 17, store))
    known = [e.label for name in ("train", "validation") for e in read_split(tiny_splits, name)]
    counts = Counter(known)
    shares = [counts[label] / len(known) for label in tiny_splits.record.labels]
    assert all(p.probabilities == shares for p in found)
    assert {p.answer for p in found} == {tiny_splits.record.labels[shares.index(max(shares))]}
    assert [p.id for p in found] == [row.id for row in read_split(tiny_splits, "test")]


def test_tfidf_equals_scikit_learn_fitted_on_train_and_validation(tiny_splits, tiny_recipe, store):
    stored = predict_baseline("tfidf", tiny_splits, tiny_recipe, 17, store)
    known = [*read_split(tiny_splits, "train"), *read_split(tiny_splits, "validation")]
    words = TfidfVectorizer(ngram_range=(1, 2), sublinear_tf=True)
    linear = LogisticRegression(C=10, max_iter=1000, class_weight="balanced")
    linear.fit(words.fit_transform([e.text for e in known]), [e.label for e in known])
    expected = linear.predict_proba(words.transform([r.text for r in read_split(tiny_splits, "test")]))
    for prediction, shares in zip(read_predictions(stored), expected, strict=True):
        assert prediction.probabilities == pytest.approx(shares)
        assert prediction.answer == tiny_splits.record.labels[shares.argmax()]
    assert stored.record.model_digest == ""
    assert stored.record.size_bytes > linear.coef_.nbytes
    assert 0 < stored.record.p50_ms <= stored.record.p95_ms


def test_made_once_with_equal_bytes(tiny_splits, tiny_recipe, store, tmp_path):
    once = predict_baseline("tfidf", tiny_splits, tiny_recipe, 17, store)
    assert predict_baseline("tfidf", tiny_splits, tiny_recipe, 17, store).path == once.path
    other = predict_baseline("tfidf", tiny_splits, tiny_recipe, 17, type(store)(tmp_path / "other"))
    assert (other.key, other.digest) == (once.key, once.digest)


def test_an_unknown_baseline_is_refused(tiny_splits, tiny_recipe, store):
    with pytest.raises(InvalidInput, match="no baseline 'bm25' for classification; known: majority, tfidf, static"):
        predict_baseline("bm25", tiny_splits, tiny_recipe, 17, store)


def test_a_sample_without_a_label_is_refused(tiny_splits, tiny_recipe):
    spec = tiny_recipe.evaluate.model_copy(update={"max_rows": 2})
    with pytest.raises(InvalidInput, match=r"a sample of 2 of 24 test rows has no \w+"):
        sampled_test(tiny_splits, spec, 17)


def test_static_embeddings_with_a_linear_model_equal_scikit_learn(tiny_splits, tiny_recipe, store):
    pytest.importorskip("wordllama")
    from supply_chain.data.embeddings import embed

    stored = predict_baseline("static", tiny_splits, tiny_recipe, 17, store)
    known = [*read_split(tiny_splits, "train"), *read_split(tiny_splits, "validation")]
    linear = LogisticRegression(C=10, max_iter=1000, class_weight="balanced")
    linear.fit(embed([e.text for e in known]), [e.label for e in known])
    expected = linear.predict_proba(embed([r.text for r in read_split(tiny_splits, "test")]))
    for prediction, shares in zip(read_predictions(stored), expected, strict=True):
        assert prediction.probabilities == pytest.approx(shares, abs=1e-6)
    assert stored.record.size_bytes > 1_000_000  # the embeddings' table is part of it
