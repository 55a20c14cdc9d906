"""Trains and evaluates the router on what its specialists were trained and tested on."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from registry.router.classifier import Classifier
from registry.router.words import Words
from supply_chain.errors import InvalidInput

C = 100.0
"""Inverse strength of the head's regularization; chosen on clinc150's validation rows."""


@dataclass(frozen=True)
class Row:
    """A text, the specialist that should answer it, and its label there."""

    text: str
    model: str
    label: str


@dataclass(frozen=True)
class Figures:
    """Measured on rows that were not trained on. Shares are of rows."""

    rows: int
    accuracy: float
    """Right specialist, whether or not the text was taken for foreign."""
    false_rejection: float
    """Rows of the fleet that were taken for foreign."""
    foreign_rows: int
    foreign_recall: float | None
    """Foreign rows that were taken for foreign; None without any."""


def fit(train: Sequence[Row], validation: Sequence[Row], words: Words, false_rejection: float = 0.05) -> Classifier:
    """A classifier that takes `false_rejection` of the validation rows for foreign.

    Raises InvalidInput for fewer than two specialists or no validation rows.
    """
    if len(Counter(row.model for row in train)) < 2:
        raise InvalidInput("a router needs the rows of at least two specialists")
    if not validation:
        raise InvalidInput("a router needs validation rows, to choose when a text is foreign")
    from sklearn.linear_model import LogisticRegression  # noqa: PLC0415 (seconds)

    classes = sorted({(row.model, row.label) for row in train})
    number = {name: i for i, name in enumerate(classes)}
    vectors = np.stack([words.embed(row.text) for row in train])
    learned = LogisticRegression(C=C, max_iter=200, tol=1e-3)
    learned.fit(vectors, [number[row.model, row.label] for row in train])
    head, bias = learned.coef_, learned.intercept_
    if len(classes) == 2:  # scikit-learn gives one row for two classes
        head, bias = np.concatenate([-head, head]) / 2, np.concatenate([-bias, bias]) / 2
    free = Classifier(words, classes, head.astype(np.float32), bias.astype(np.float32), float("-inf"))
    threshold = float(np.quantile([free.guess(row.text).familiarity for row in validation], false_rejection))
    return Classifier(words, classes, free.head, free.bias, threshold)


def evaluate(classifier: Classifier, rows: Sequence[Row], foreign: Sequence[str] = ()) -> Figures:
    """Figures on test rows, and on texts that no specialist should answer."""
    guesses = [classifier.guess(row.text) for row in rows]
    right = sum(next(iter(guess.shares)) == row.model for guess, row in zip(guesses, rows, strict=True))
    caught = sum(not classifier.guess(text).known for text in foreign)
    return Figures(
        rows=len(rows),
        accuracy=right / len(rows),
        false_rejection=sum(not guess.known for guess in guesses) / len(rows),
        foreign_rows=len(foreign),
        foreign_recall=caught / len(foreign) if foreign else None,
    )
