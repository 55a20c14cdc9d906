"""Serves a registered model: MLflow imports this file from inside the model and calls `_load_pyfunc`.

It needs `supply_chain` only. The bytes are compared with their recorded digests before they are used.
"""

from pathlib import Path
from typing import Any

import pandas as pd  # type: ignore[import-untyped]

from supply_chain.answer import Answerer


class Specialist:
    """A loaded model that answers a table of texts."""

    def __init__(self, path: Path):
        """Loads the stored artifact in `path`. Raises CorruptData when its bytes are not the recorded ones."""
        self.answerer = Answerer(path)

    def predict(self, table: pd.DataFrame, params: dict[str, Any] | None = None) -> pd.DataFrame:
        """Column `text` in; `label`, `confidence` and `escalate` (pass it on) out, in the rows' order.

        A class name with its calibrated probability; for other tasks canonical JSON (empty where the
        model wrote none) or a text, with the probability of what was written (of a text: a token's mean).
        """
        found = self.answerer.answer(list(table["text"]))
        return pd.DataFrame([answer.__dict__ for answer in found], columns=["label", "confidence", "escalate"])


def _load_pyfunc(data_path: str) -> Specialist:
    return Specialist(Path(data_path))
