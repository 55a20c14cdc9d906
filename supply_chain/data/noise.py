"""Suspected label errors by confident learning (Northcutt et al. 2021, arXiv:1911.00068)."""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from supply_chain.data.embeddings import embed
from supply_chain.errors import InvalidInput, Unavailable
from supply_chain.recipe.rules import LabelNoise


@dataclass(frozen=True)
class Suspect:
    """A row whose label is doubted, the label suggested instead, and the given label's probability score (0 to 1)."""

    row: int
    suggested: str
    score: float


def suspects(texts: list[str], labels: list[str], rule: LabelNoise) -> list[Suspect]:
    """Rows whose label is doubted, the most doubtful first.

    Each row's label probabilities come from a classifier that has not seen the row (`rule.folds` folds).
    """
    if len(texts) > rule.max_rows:
        raise InvalidInput(
            f"rules.label_noise: {len(texts):,} rows are more than max_rows ({rule.max_rows:,}): raise it (a row takes "
            f"1 KiB and more labels take longer) or leave the rule out"
        )
    names, codes = np.unique(np.array(labels), return_inverse=True)
    if np.bincount(codes).min() < rule.folds:
        rare = ", ".join(names[np.bincount(codes) < rule.folds][:5])
        raise InvalidInput(f"rules.label_noise: fewer rows than folds ({rule.folds}) for {rare}: lower `folds`")
    chances = out_of_sample(embed(texts), codes, rule.folds)
    scores = _quality(codes, chances)
    order = np.argsort(scores, kind="stable")
    doubted = order[: round(rule.share * len(texts))] if rule.share is not None else _found(codes, chances, order)
    best = np.where(np.arange(chances.shape[1]) == codes[:, None], -1, chances).argmax(axis=1)
    return [Suspect(int(row), str(names[best[row]]), float(scores[row])) for row in doubted]


def out_of_sample(
    features: npt.NDArray[np.float32], codes: npt.NDArray[np.int64], folds: int
) -> npt.NDArray[np.float64]:
    """Label probabilities (rows × labels) from a classifier that was fitted without the row."""
    from sklearn.linear_model import LogisticRegression  # noqa: PLC0415 (1 s)
    from sklearn.model_selection import StratifiedKFold, cross_val_predict  # noqa: PLC0415

    model = LogisticRegression(C=30, max_iter=200, tol=1e-3)
    split = StratifiedKFold(folds, shuffle=True, random_state=0)
    return np.asarray(cross_val_predict(model, features, codes, cv=split, method="predict_proba"))


def _quality(codes: npt.NDArray[np.int64], chances: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    try:
        from cleanlab.rank import get_label_quality_scores  # noqa: PLC0415 (an extra)
    except ImportError:
        raise Unavailable("rules.label_noise needs cleanlab and wordllama: pip install '.[noise]'") from None
    scores = get_label_quality_scores(codes, chances, method="normalized_margin", adjust_pred_probs=False)
    return np.asarray(scores)


def _found(
    codes: npt.NDArray[np.int64], chances: npt.NDArray[np.float64], order: npt.NDArray[np.int64]
) -> npt.NDArray[np.int64]:
    from cleanlab.filter import find_label_issues  # noqa: PLC0415

    issues = find_label_issues(codes, chances, filter_by="prune_by_noise_rate", n_jobs=1)
    return order[issues[order]]
