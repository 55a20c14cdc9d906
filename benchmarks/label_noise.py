"""Label noise: 5% of banking77's training labels flipped at random; are they found, and does dropping help?"""

import time

import numpy as np
from measure import data_folder, read_lines, report
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import average_precision_score
from sklearn.pipeline import make_pipeline

from supply_chain.data.noise import suspects
from supply_chain.recipe.rules import LabelNoise

SHARE, SEED = 0.05, 17


def main() -> None:
    folder = data_folder("banking77")
    train, test = read_lines(folder / "train.jsonl"), read_lines(folder / "test.jsonl")
    texts, labels = [r["text"] for r in train], np.array([r["label"] for r in train])
    rng = np.random.default_rng(SEED)
    names = np.unique(labels)
    flipped = rng.choice(len(labels), round(SHARE * len(labels)), replace=False)
    noisy = labels.copy()
    noisy[flipped] = [rng.choice(names[names != label]) for label in labels[flipped]]
    wrong = np.zeros(len(labels), dtype=int)
    wrong[flipped] = 1
    start = time.perf_counter()
    found = suspects(texts, list(noisy), LabelNoise(action="drop", share=0.5))
    seconds = time.perf_counter() - start
    ranked = np.zeros(len(labels))
    for place, suspect in enumerate(found):
        ranked[suspect.row] = len(labels) - place
    flags = {s.row for s in suspects(texts, list(noisy), LabelNoise())}
    dropped = np.array([s.row for s in found[: len(flipped)]])
    right = [s.suggested == labels[s.row] for s in found[: len(flipped)] if wrong[s.row]]
    kept = np.setdiff1d(np.arange(len(labels)), dropped)
    report(
        "label_noise",
        rows=len(labels), flipped=len(flipped),
        average_precision=round(float(average_precision_score(wrong, ranked)), 4),
        precision_in_top_5_percent=round(float(wrong[dropped].mean()), 4),
        suggested_label_is_the_true_one=round(float(np.mean(right)), 4),
        flagged_by_default=len(flags), flipped_among_flagged=int(wrong[list(flags)].sum()),
        test_accuracy_keeping_all=accuracy(texts, noisy, test),
        test_accuracy_dropping_top_5_percent=accuracy([texts[i] for i in kept], noisy[kept], test),
        rows_per_second=round(len(labels) / seconds),
    )  # fmt: skip


def accuracy(texts: list[str], labels: np.ndarray, test: list[dict[str, str]]) -> float:
    model = make_pipeline(
        TfidfVectorizer(ngram_range=(1, 2), sublinear_tf=True), LogisticRegression(C=10, max_iter=300)
    )
    model.fit(texts, labels)
    return round(float(model.score([r["text"] for r in test], [r["label"] for r in test])), 4)


if __name__ == "__main__":
    main()
