"""Parts of the test rows that are looked at alone: by length, label or what the text holds."""

import re
from collections.abc import Iterator, Sequence

import numpy as np
from numpy.typing import NDArray

from evals.estimate import Bench
from evals.intervals import holm, mcnemar
from evals.records import SliceScore
from supply_chain.recipe.evaluate import SliceSpec
from supply_chain.records import Example

Mask = NDArray[np.bool_]


def score_slices(
    bench: Bench,
    rows: Sequence[Example],
    specs: Sequence[SliceSpec],
    metric: str,
    answers: Sequence[str],
    rival: Sequence[str] | None,
) -> list[SliceScore]:
    """The candidate's metric on each slice, and the rows won and lost against `rival`, adjusted for all slices.

    A slice of no rows, or of one group, has no estimate.
    """
    masks = [*lengths(rows), *((spec.name, chosen(rows, spec)) for spec in specs)]
    parted = [_parted(bench, mask, answers, rival) for _, mask in masks]
    p_values = holm([mcnemar(*pair) for pair in parted])
    return [
        SliceScore(
            name=name,
            rows=int(mask.sum()),
            estimate=bench.part(mask).estimate(metric, _at(answers, mask)) if _groups(bench, mask) > 1 else None,
            wins=wins,
            losses=losses,
            p_value=p_value,
        )
        for (name, mask), (wins, losses), p_value in zip(masks, parted, p_values, strict=True)
    ]


def chosen(rows: Sequence[Example], spec: SliceSpec) -> Mask:
    """The rows that meet every condition of a slice."""
    pattern = re.compile(spec.matches) if spec.matches is not None else None
    return np.array(
        [
            (pattern is None or pattern.search(row.text) is not None)
            and (spec.labels is None or row.label in spec.labels)
            and (spec.min_chars or 0) <= len(row.text) <= (spec.max_chars or len(row.text))
            for row in rows
        ],
        dtype=bool,
    )


def lengths(rows: Sequence[Example]) -> Iterator[tuple[str, Mask]]:
    """Thirds of the rows by their number of characters, as far as lengths tell them apart."""
    sizes = np.array([len(row.text) for row in rows])
    edges = sorted({int(edge) for edge in np.quantile(sizes, [1 / 3, 2 / 3], method="lower")})
    lows, highs = [0, *(edge + 1 for edge in edges)], [*edges, int(sizes.max())]
    for low, high in zip(lows, highs, strict=True):
        if low <= high:
            yield f"{low} to {high} characters", (sizes >= low) & (sizes <= high)


def _parted(bench: Bench, mask: Mask, answers: Sequence[str], rival: Sequence[str] | None) -> tuple[int, int]:
    if rival is None or not mask.any():
        return 0, 0
    apart = (bench.right(answers) - bench.right(rival))[mask]
    return int((apart > 0).sum()), int((apart < 0).sum())


def _groups(bench: Bench, mask: Mask) -> int:
    return len(set(_at(bench.groups, mask)))


def _at(values: Sequence[str], mask: Mask) -> list[str]:
    return [value for value, here in zip(values, mask, strict=True) if here]
