"""What decisions cost: mistakes at their prices, and the machine while it decides."""

import difflib
from collections.abc import Callable, Sequence

import numpy as np

from evals.estimate import Bench, Floats
from evals.records import Estimate
from supply_chain.errors import InvalidInput
from supply_chain.recipe.data import Task
from supply_chain.recipe.evaluate import Kpis


def usd_per_1k(bench: Bench, kpis: Kpis, answers: Sequence[str], seconds_per_decision: float) -> Estimate:
    """US dollars for 1,000 decisions. The interval speaks of mistakes; compute is taken as it was measured.

    Raises InvalidInput when `kpis.mistakes` names a label that does not exist.
    """
    compute_usd = seconds_per_decision / 3600 * kpis.compute_usd_per_hour
    rows_usd = mistakes_usd(bench, kpis, answers)
    found = bench.mean(1000 * (rows_usd + compute_usd))
    if rows_usd.any():
        return found
    # No mistake was seen: the draws agree, but as many as the accuracy's interval allows may still come.
    most = bench.share(np.zeros(len(rows_usd), dtype=bool)).high
    dearest = max([kpis.mistake_usd, *kpis.mistakes.values()])
    return found.model_copy(update={"high": 1000 * (compute_usd + most * dearest)})


def mistakes_usd(bench: Bench, kpis: Kpis, answers: Sequence[str]) -> Floats:
    """US dollars that each row's answer costs; an answer that is good enough costs nothing."""
    if bench.texts is not None:
        return np.asarray((1 - bench.right(answers)) * kpis.mistake_usd)
    price = pricing(bench.task, kpis, bench.labels)
    return np.array([price(t, a) for t, a in zip(bench.truth, answers, strict=True)], dtype=np.float64)


def usd_per_month(per_1k: Estimate, kpis: Kpis) -> float:
    """US dollars at the expected volume."""
    return per_1k.mean * kpis.volume_per_month / 1000


def pricing(task: Task, kpis: Kpis, labels: Sequence[str]) -> Callable[[str, str], float]:
    """US dollars of (truth, answer): each kind of mistake has its price, a written answer is right or wrong.

    Raises InvalidInput when `kpis.mistakes` names a label that does not exist.
    """
    if task != "classification":
        return lambda truth, answer: 0.0 if truth == answer else kpis.mistake_usd
    prices = mistake_prices(kpis, labels)
    return lambda truth, answer: prices[truth, answer]


def mistake_prices(kpis: Kpis, labels: Sequence[str]) -> dict[tuple[str, str], float]:
    """US dollars for each (truth, answer); being right costs nothing.

    Raises InvalidInput when `kpis.mistakes` names a label that does not exist.
    """
    price = {(t, a): 0.0 if t == a else kpis.mistake_usd for t in labels for a in labels}
    for kind, usd in kpis.mistakes.items():
        truth, _, answer = (part.strip() for part in kind.partition("->"))
        for label in (truth, answer):
            if label not in labels:
                near = difflib.get_close_matches(label, labels, n=1, cutoff=0.5)
                hint = f"did you mean {near[0]}?" if near else f"known: {', '.join(labels)}"
                raise InvalidInput(f"evaluate.kpis.mistakes: {kind!r} names no label {label!r}; {hint}")
        if truth == answer:
            raise InvalidInput(f"evaluate.kpis.mistakes: {kind!r} is no mistake; name two labels")
        price[truth, answer] = usd
    return price
