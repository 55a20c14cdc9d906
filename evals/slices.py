"""Parts of the test rows that are looked at alone: by length, label, language, source, metadata or an expression."""

import json
import re
from collections.abc import Callable, Iterator, Sequence
from fnmatch import fnmatchcase
from functools import partial

import numpy as np
from numpy.typing import NDArray

from evals.estimate import Bench
from evals.intervals import holm, mcnemar
from evals.records import SliceScore
from supply_chain.data.language import Identifier
from supply_chain.errors import InvalidInput
from supply_chain.recipe.evaluate import SliceSpec
from supply_chain.recipe.expression import Condition, condition
from supply_chain.recipe.rules import Language
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
    further = _further(spec)
    return np.array(
        [
            (pattern is None or pattern.search(row.text) is not None)
            and (spec.labels is None or row.label in spec.labels)
            and (spec.min_chars or 0) <= len(row.text) <= (spec.max_chars or len(row.text))
            and all(holds(row) for holds in further)
            for row in rows
        ],
        dtype=bool,
    )


def _further(spec: SliceSpec) -> list[Callable[[Example], bool]]:
    """The conditions on file, language, metadata and the expression."""
    found: list[Callable[[Example], bool]] = []
    if spec.source is not None:
        found.append(partial(_from, spec.source))
    if spec.metadata is not None:
        found.append(partial(_with, spec.metadata))
    if spec.language is not None:
        identify = Identifier(Language(allowed=[spec.language])).language
        found.append(lambda row: identify(row.text) == spec.language)
    if spec.where is not None:
        found.append(partial(_where, spec, condition(spec.where)[0]))
    return found


def _from(source: str, row: Example) -> bool:
    return fnmatchcase(row.file, source)


def _with(wanted: dict[str, list[str]], row: Example) -> bool:
    kept = json.loads(row.meta or "{}")
    return all(kept.get(column) in values for column, values in wanted.items())


def _where(spec: SliceSpec, holds: Condition, row: Example) -> bool:
    own = {"text": row.text, "label": row.label, "chars": len(row.text), "words": len(row.text.split())}
    try:
        return bool(holds({**json.loads(row.meta or "{}"), **own, "file": row.file}))
    except (TypeError, KeyError) as error:
        raise InvalidInput(f"row {row.id}: slice {spec.name!r} cannot be told ({spec.where}): {error}") from None


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
