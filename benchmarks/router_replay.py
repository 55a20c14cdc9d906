"""Replays weak-or-strong routing on MMLU (RouteLLM's answers of two models). `python -m benchmarks.router_replay`.

A linear head over static embeddings predicts, from the prompt alone, how much likelier the strong
model is right than the weak one; the prompts with the largest gain go to the strong model. Fitted on
one half (regularization by cross-validation within it), measured on the other, both ways round.
`recovered` is the share of the gap between the models' accuracies that is recovered; random mixing
recovers what it spends. APGR is the mean recovered share over all shares of strong calls
(Ong et al. 2024, arXiv:2406.18665).
"""

import numpy as np

from benchmarks.measure import data_folder, read_lines, report
from registry.router.words import wordllama_words
from supply_chain.settings import load_settings

WEAK, STRONG = "mixtral-8x7b", "gpt-4-1106"
SHARES = np.linspace(0, 1, 101)


def main() -> None:
    from sklearn.linear_model import LogisticRegressionCV

    found = read_lines(data_folder("routellm_mmlu") / "mmlu.jsonl")
    words = wordllama_words()
    vectors = np.stack([words.embed(row["prompt"]) for row in found])
    weak, strong = (np.array([bool(row["correct"][name]) for row in found]) for name in (WEAK, STRONG))
    order = np.random.default_rng(load_settings().seed).permutation(len(found))
    halves = order[: len(order) // 2], order[len(order) // 2 :]
    folds = []
    for fitted, held in (halves, halves[::-1]):
        gain = np.zeros(len(found))
        for right, sign in ((strong, 1), (weak, -1)):
            learned = LogisticRegressionCV(Cs=[0.03, 0.1, 0.3, 1.0, 10.0], cv=3, scoring="neg_log_loss").fit(
                vectors[fitted], right[fitted]
            )
            gain += sign * learned.predict_proba(vectors)[:, 1]
        folds.append(_fold(gain, weak, strong, fitted, held))
    best = {name: float(np.mean([fold[name] for fold in folds])) for name in ("apgr", "cpt50", "cpt80")}
    report(
        "router_replay",
        rows=len(found),
        weak_accuracy=float(weak.mean()),
        strong_accuracy=float(strong.mean()),
        **best,
        random={"apgr": 0.5, "cpt50": 0.5, "cpt80": 0.8},
        folds=folds,
    )


def _fold(gain: np.ndarray, weak: np.ndarray, strong: np.ndarray, fitted: np.ndarray, held: np.ndarray) -> dict:
    curve = _curve(gain[held], weak[held], strong[held])
    draws = np.random.default_rng(7)
    apgrs = []
    for _ in range(200):
        rows = draws.choice(held, len(held))
        apgrs.append(
            np.mean([_recovered(gain[rows] >= _threshold(gain[rows], s), weak[rows], strong[rows]) for s in SHARES])
        )
    kept = []
    for share in (0.2, 0.5, 0.8):
        threshold = _threshold(gain[fitted], share)
        sent = gain[held] >= threshold
        kept.append(
            {
                "promised_share": share,
                "share": float(sent.mean()),
                "recovered": _recovered(sent, weak[held], strong[held]),
            }
        )
    return {
        "apgr": float(curve.mean()),
        "apgr_95": [float(np.quantile(apgrs, q)) for q in (0.025, 0.975)],
        "cpt50": float(SHARES[np.argmax(curve >= 0.5)]),
        "cpt80": float(SHARES[np.argmax(curve >= 0.8)]),
        "thresholds_on_the_other_half": kept,
    }


def _curve(gain: np.ndarray, weak: np.ndarray, strong: np.ndarray) -> np.ndarray:
    return np.array([_recovered(gain >= _threshold(gain, share), weak, strong) for share in SHARES])


def _threshold(gain: np.ndarray, share: float) -> float:
    """Above which `share` of the prompts lie."""
    return float("inf") if share == 0 else float(np.quantile(gain, 1 - share))


def _recovered(sent: np.ndarray, weak: np.ndarray, strong: np.ndarray) -> float:
    mixed = np.where(sent, strong, weak).mean()
    return float((mixed - weak.mean()) / (strong.mean() - weak.mean()))


if __name__ == "__main__":
    main()
