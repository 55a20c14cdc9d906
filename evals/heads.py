"""Answers as the served model does, without lm-eval: a head of labels, or labels ranked by llama.cpp."""

import time
from pathlib import Path

from evals.answering import Sat, Sitting
from evals.predictions import write_predictions
from supply_chain.prompt import Renderer
from supply_chain.scoring import LabelScorer
from supply_chain.serving import read_serving


def answer(sitting: Sitting, folder: Path) -> Sat:
    """Writes `predictions.parquet`: every label's calibrated probability for every row, as the served model
    computes it; a label that its head does not know has none. Raises InvalidInput for a row that does not
    fit the model's context.
    """
    labels = sitting.splits.record.labels
    scorer = LabelScorer(sitting.loaded, Renderer.of(sitting.recipe.prompt, labels, sitting.loaded.tokenizer))
    serving = read_serving(sitting.subject.path)
    column = {label: i for i, label in enumerate(serving.labels)}

    def shares(likelihoods: list[list[float]]) -> list[list[float]]:
        found = serving.calibration.probabilities(likelihoods)
        return [[row[column[label]] if label in column else 0.0 for label in labels] for row in found]

    start = time.perf_counter()
    likelihoods = scorer.likelihoods([row.text for row in sitting.rows])
    seconds = time.perf_counter() - start
    write_predictions(folder, sitting.rows, labels, shares(likelihoods))

    def decide(texts: list[str]) -> list[str]:
        return [labels[max(range(len(row)), key=row.__getitem__)] for row in shares(scorer.likelihoods(texts))]

    return Sat(seconds, decide, serving.escalation)
