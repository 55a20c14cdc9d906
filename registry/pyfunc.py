"""Serves a registered model: MLflow imports this file from inside the model and calls `_load_pyfunc`.

It needs `supply_chain` only. The bytes are compared with their recorded digests before they are used.
"""

import json
from pathlib import Path
from typing import Any

import pandas as pd  # type: ignore[import-untyped]

from supply_chain.compute import scoring_compute
from supply_chain.errors import CorruptData
from supply_chain.generation import write
from supply_chain.identity import file_sha256
from supply_chain.inference import load
from supply_chain.prompt import Renderer
from supply_chain.scoring import LabelScorer
from supply_chain.serving import read_serving
from supply_chain.settings import load_settings


class Specialist:
    """A loaded model that answers a table of texts."""

    def __init__(self, path: Path):
        """Loads the stored artifact in `path`. Raises CorruptData when its bytes are not the recorded ones."""
        _verify(path)
        self.serving = read_serving(path)
        self.loaded = load(path, scoring_compute(load_settings()))
        serving = self.serving
        self.renderer = Renderer.of(serving.prompt, serving.labels, self.loaded.tokenizer, serving.task)
        self.scorer = LabelScorer(self.loaded, self.renderer) if serving.task == "classification" else None

    def predict(self, table: pd.DataFrame, params: dict[str, Any] | None = None) -> pd.DataFrame:
        """Column `text` in; `label`, `confidence` and `escalate` (pass it on) out, in the rows' order.

        A class name with its calibrated probability; for other tasks canonical JSON (empty where the
        model wrote none) or a text, with the probability of what was written (of a text: a token's mean).
        """
        if self.scorer is None:
            return self._write(list(table["text"]))
        likelihoods = self.scorer.likelihoods(list(table["text"]))
        shares = self.serving.calibration.probabilities(likelihoods)
        labels = [self.serving.labels[max(range(len(row)), key=row.__getitem__)] for row in shares]
        confidences = [max(row) for row in shares]
        return self._told(labels, confidences)

    def _write(self, texts: list[str]) -> pd.DataFrame:
        contexts = [self.renderer.context(text) for text in texts]
        written = write(self.loaded, contexts, self.serving.max_new_tokens, self.renderer.complete)
        answers = [self.renderer.read(w.text) for w in written]
        free = self.serving.task == "generation"
        return self._told(answers, [w.confidence(a_token=free) for w in written])

    def _told(self, labels: list[str], confidences: list[float]) -> pd.DataFrame:
        promise = self.serving.escalation
        escalate = [promise is not None and confidence < promise.threshold for confidence in confidences]
        return pd.DataFrame({"label": labels, "confidence": confidences, "escalate": escalate})


def _load_pyfunc(data_path: str) -> Specialist:
    return Specialist(Path(data_path))


def _verify(path: Path) -> None:
    files = json.loads((path / "entry.json").read_text(encoding="utf-8"))["files"]
    bad = [name for name, file in files.items() if not _intact(path / name, file["sha256"])]
    if bad:
        raise CorruptData(f"{path}: {', '.join(bad)} are missing or damaged; register the model again")


def _intact(path: Path, sha256: str) -> bool:
    return path.is_file() and file_sha256(path) == sha256
