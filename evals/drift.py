"""Whether a champion's answers in service still look like those it was judged by."""

from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import polars as pl
from numpy.typing import NDArray

from evals.drifted import Drift
from evals.records import Prediction
from supply_chain.errors import InvalidInput
from supply_chain.recipe.automate import OnDrift

_BINS, _OTHER, _P = 10, "(other)", 0.001
Counts = NDArray[np.float64]


def served(path: Path, spec: OnDrift, since: datetime) -> tuple[list[str], list[float]]:
    """Labels and confidences of requests served since a time, from JSON Lines or Parquet.

    Raises InvalidInput for a file that lacks a column or holds what is no time or probability.
    """
    columns = [spec.label, spec.confidence, spec.when]
    try:
        frame = pl.read_parquet(path, columns=columns) if path.suffix == ".parquet" else pl.read_ndjson(path)
        frame = frame.select(pl.col(spec.label).cast(pl.String), pl.col(spec.confidence).cast(pl.Float64), _time(spec))
    except (OSError, pl.exceptions.PolarsError) as error:
        first = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise InvalidInput(f"{path}: expected the columns {', '.join(columns)} in each row: {first}") from None
    confidence = frame[spec.confidence]
    if frame.null_count().sum_horizontal().item() or not confidence.is_between(0, 1).all():
        raise InvalidInput(
            f"{path}: a row without {', '.join(columns)}, or with a {spec.confidence} that is not from 0 to 1"
        )
    frame = frame.filter(pl.col(spec.when) >= since.astimezone(UTC))
    return frame[spec.label].to_list(), frame[spec.confidence].to_list()


def drift_of(
    named: tuple[str, int],
    judged: Sequence[Prediction],
    labels: Sequence[str],
    confidences: Sequence[float],
    psi: float,
) -> Drift:
    """Compares predicted labels, and confidences in the evaluation's tenths.

    It drifts where a population stability index reaches `psi` (0.1 is usually called small, 0.25 large;
    Yurdakul and Naranjo 2020, doi:10.21314/JRMV.2020.227) and chi-square says that it is no chance
    (p < 0.001): few rows alone make a large index.
    """
    known = sorted({p.answer for p in judged})
    expected = np.array([sum(p.answer == label for p in judged) for label in known] + [0.0])
    seen = [label if label in known else _OTHER for label in labels]
    found = np.array([float(seen.count(label)) for label in [*known, _OTHER]])
    edges = np.unique(np.quantile([p.confidence for p in judged], np.linspace(0, 1, _BINS + 1)[1:-1]))
    sure, was_sure = (
        np.bincount(np.searchsorted(edges, values, side="right"), minlength=len(edges) + 1).astype(float)
        for values in (np.array(confidences), np.array([p.confidence for p in judged]))
    )
    indices = _psi(expected, found), _psi(was_sure, sure)
    p_value = min(1.0, 2 * min(_chance(expected, found), _chance(was_sure, sure)))
    return Drift(
        model=named[0],
        version=named[1],
        at=datetime.now(UTC),
        rows=len(labels),
        label_psi=indices[0],
        confidence_psi=indices[1],
        p_value=p_value,
        drifted=max(indices) >= psi and p_value < _P,
    )


def _psi(expected: Counts, found: Counts) -> float:
    """Half a row is added to each bin, so that an empty one does not make it infinite."""
    used = (expected + found) > 0
    one, other = expected[used] + 0.5, found[used] + 0.5
    one, other = one / one.sum(), other / other.sum()
    return float(((other - one) * np.log(other / one)).sum())


def _chance(expected: Counts, found: Counts) -> float:
    from scipy.stats import chi2_contingency  # noqa: PLC0415 (half a second)

    used = (expected + found) > 0
    return float(chi2_contingency(np.stack([expected[used], found[used]])).pvalue) if used.sum() > 1 else 1.0


def _time(spec: OnDrift) -> pl.Expr:
    """Times with an offset; polars reads ISO 8601."""
    text = pl.col(spec.when).cast(pl.String)
    return text.str.to_datetime(time_zone="UTC", strict=True).alias(spec.when)
