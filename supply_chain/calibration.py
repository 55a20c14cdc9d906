"""Label probabilities that mean what they say, by temperature scaling on validation rows.

Guo et al. 2017, "On Calibration of Modern Neural Networks", section 4.2. One temperature changes how
sure a model says it is, never which label it answers.
"""

from collections.abc import Sequence

import numpy as np
from pydantic import BaseModel, ConfigDict

_RANGE = (-3.0, 3.0)


class Calibration(BaseModel):
    """Labels' probabilities are `softmax(likelihoods / temperature)`."""

    model_config = ConfigDict(frozen=True, extra="forbid")
    temperature: float = 1.0
    rows: int = 0
    """Validation rows it was fitted on."""

    def probabilities(self, likelihoods: Sequence[Sequence[float]]) -> list[list[float]]:
        """Log-likelihoods [rows, labels] as probabilities [rows, labels]."""
        shares: list[list[float]] = _softmax(np.asarray(likelihoods, dtype=np.float64) / self.temperature).tolist()
        return shares


def fit_calibration(likelihoods: Sequence[Sequence[float]], truth: Sequence[int]) -> Calibration:
    """The temperature (e^-3 to e^3) with the least negative log-likelihood of `truth` (label indices)."""
    from scipy.optimize import minimize_scalar  # noqa: PLC0415 (serving never fits)

    scores, index = np.asarray(likelihoods, dtype=np.float64), np.asarray(truth)

    def loss(log_temperature: float) -> float:
        shares = _softmax(scores * np.exp(-log_temperature))
        return float(-np.log(np.maximum(shares[np.arange(len(index)), index], 1e-300)).mean())

    best = minimize_scalar(loss, bounds=_RANGE, method="bounded").x
    return Calibration(temperature=float(np.exp(best)), rows=len(index))


def _softmax(values: np.ndarray) -> np.ndarray:
    shares = np.exp(values - values.max(axis=1, keepdims=True))
    return np.asarray(shares / shares.sum(axis=1, keepdims=True))
