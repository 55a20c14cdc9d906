"""Which of a recipe's formats is the candidate: the first, or what `choose` picks from what was measured."""

from collections.abc import Sequence
from dataclasses import dataclass

from evals.metrics import TITLES
from evals.predictions import read_predictions, sampled_test
from evals.scorecard import bench_of
from supply_chain.errors import InvalidInput
from supply_chain.recipe import Recipe
from supply_chain.recipe.quantize import read_choice
from supply_chain.records import Predictions, Splits
from supply_chain.store import Stored

_FULL = "specialist"


@dataclass(frozen=True)
class Choice:
    """The candidate, and why it is that one."""

    contestant: str
    sentence: str


@dataclass(frozen=True)
class _Measured:
    name: str
    quality: float
    size_bytes: int
    p50_ms: float


def choose(recipe: Recipe, splits: Stored[Splits], predictions: Sequence[Stored[Predictions]], seed: int) -> Choice:
    """The candidate among the formats. Where none meets the condition, the nearest is judged, and the sentence says so.

    Raises InvalidInput when a format or full precision was not measured.
    """
    first = recipe.candidates[0]
    if recipe.choose is None:
        return Choice(first.name, f"{first.name}, the first of the recipe's formats")
    by_name = {p.record.contestant: p for p in predictions}
    missing = [name for name in (_FULL, *(s.name for s in recipe.candidates)) if name not in by_name]
    if missing:
        raise InvalidInput(f"choose compares all formats, but {', '.join(missing)} were not measured: evaluate them")
    rows = sampled_test(splits, recipe.evaluate, seed)
    bench = bench_of(recipe, splits.record.labels, rows, seed)

    def measured(name: str) -> _Measured:
        stored = by_name[name]
        answers = {p.id: p.answer for p in read_predictions(stored)}
        quality = bench.estimate(recipe.evaluate.metric, [answers[row.id] for row in rows]).mean
        return _Measured(name, quality, stored.record.size_bytes, stored.record.p50_ms)

    return pick(recipe.choose, recipe.evaluate.metric, measured(_FULL), [measured(s.name) for s in recipe.candidates])


def pick(wanted: str, metric: str, full: _Measured, formats: Sequence[_Measured]) -> Choice:
    """The smallest or fastest of the formats that meet `wanted`; ties go to the better answers, then to the first."""
    order, loss, megabytes = read_choice(wanted)
    fit = [
        f
        for f in formats
        if (loss is None or full.quality - f.quality <= loss + 1e-9)
        and (megabytes is None or f.size_bytes <= megabytes * 1e6)
    ]
    if not fit:
        nearest = (
            max(formats, key=lambda f: f.quality) if loss is not None else min(formats, key=lambda f: f.size_bytes)
        )
        return Choice(nearest.name, f"{nearest.name}: no format is {wanted}, and this one comes nearest")
    chosen = min(fit, key=lambda f: (f.size_bytes if order == "smallest" else f.p50_ms, -f.quality))
    name = TITLES.get(metric, metric)
    told = (
        f"{chosen.name}: {wanted} ({chosen.size_bytes / 1e6:.0f} MB, {chosen.p50_ms:.0f} ms, {name} "
        f"{chosen.quality:.3f} against {full.quality:.3f} in full precision; {len(fit)} of {len(formats)} formats fit)"
    )
    return Choice(chosen.name, told)
