"""Label probabilities that mean what they say, fitted on validation rows.

Vector scaling restricted to one temperature and one bias a label (Guo et al. 2017, "On Calibration
of Modern Neural Networks", section 4.2). Rounding weights to 4 bits shifts a model towards some
labels; the bias takes that back.
"""

from collections.abc import Sequence

import numpy as np
from pydantic import BaseModel, ConfigDict

_BIAS_PENALTY = 1e-3
_LOG_TEMPERATURE_PENALTY = 1e-3


class Calibration(BaseModel):
    """`softmax(likelihoods / temperature + bias)`, labels in the artifact's order."""

    model_config = ConfigDict(frozen=True, extra="forbid")
    temperature: float
    bias: list[float]
    rows: int
    """Validation rows it was fitted on."""

    def probabilities(self, likelihoods: Sequence[Sequence[float]]) -> list[list[float]]:
        """Log-likelihoods [rows, labels] as probabilities [rows, labels]."""
        return _softmax(np.asarray(likelihoods) / self.temperature + np.asarray(self.bias)).tolist()


def identity_calibration(labels: int) -> Calibration:
    """Leaves likelihoods as they are."""
    return Calibration(temperature=1.0, bias=[0.0] * labels, rows=0)


def fit_calibration(likelihoods: Sequence[Sequence[float]], truth: Sequence[int]) -> Calibration:
    """The calibration with the least negative log-likelihood of `truth` (label indices), slightly regularized."""
    from scipy.optimize import minimize  # noqa: PLC0415 (serving never fits)

    scores, index = np.asarray(likelihoods, dtype=np.float64), np.asarray(truth)
    rows, labels = scores.shape

    def loss(parameters: np.ndarray) -> tuple[float, np.ndarray]:
        sharpness, bias = np.exp(-parameters[0]), parameters[1:]
        shares = _softmax(scores * sharpness + bias)
        error = shares.copy()
        error[np.arange(rows), index] -= 1
        value = -np.log(np.maximum(shares[np.arange(rows), index], 1e-300)).mean()
        gradient = np.concatenate([[-(error * scores).sum() * sharpness / rows], error.mean(axis=0)])
        penalty = np.concatenate([[_LOG_TEMPERATURE_PENALTY], np.full(labels, _BIAS_PENALTY)])
        return value + float(penalty @ parameters**2), gradient + 2 * penalty * parameters

    best = minimize(loss, np.zeros(labels + 1), jac=True, method="L-BFGS-B").x
    return Calibration(
        temperature=float(np.exp(best[0])), bias=[float(b) for b in best[1:] - best[1:].mean()], rows=rows
    )


def _softmax(values: np.ndarray) -> np.ndarray:
    shares = np.exp(values - values.max(axis=1, keepdims=True))
    return np.asarray(shares / shares.sum(axis=1, keepdims=True))
