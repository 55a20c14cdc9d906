"""What decisions cost: mistakes at their prices, and the machine while it decides."""

from collections.abc import Sequence

import numpy as np

from evals.estimate import Bench, Floats
from evals.estimates import Estimate
from supply_chain.pricing import pricing
from supply_chain.recipe.evaluate import Kpis


def machine_usd(kpis: Kpis, seconds: float) -> float:
    """US dollars for the machine's time."""
    return seconds / 3600 * kpis.compute_usd_per_hour


def usd_per_1k(bench: Bench, kpis: Kpis, answers: Sequence[str], besides_usd: float | Floats) -> Estimate:
    """US dollars for 1,000 decisions: mistakes, and what each row costs besides (the machine, or somebody's endpoint).

    The interval speaks of mistakes and of how rows differ. Raises InvalidInput when `kpis.mistakes` names a label
    that does not exist.
    """
    rows_usd = mistakes_usd(bench, kpis, answers)
    found = bench.mean(1000 * (rows_usd + besides_usd))
    if rows_usd.any():
        return found
    # No mistake was seen: the draws agree, but as many as the accuracy's interval allows may still come.
    most = bench.share(np.zeros(len(rows_usd), dtype=bool)).high
    dearest = max([kpis.mistake_usd, *kpis.mistakes.values()])
    return found.model_copy(update={"high": 1000 * (float(np.mean(besides_usd)) + most * dearest)})


def mistakes_usd(bench: Bench, kpis: Kpis, answers: Sequence[str]) -> Floats:
    """US dollars that each row's answer costs; an answer that is good enough costs nothing."""
    if bench.texts is not None:
        return np.asarray((1 - bench.right(answers)) * kpis.mistake_usd)
    price = pricing(bench.task, kpis, bench.labels)
    return np.array([price(t, a) for t, a in zip(bench.truth, answers, strict=True)], dtype=np.float64)


def usd_per_month(per_1k: Estimate, kpis: Kpis) -> float:
    """US dollars at the expected volume."""
    return per_1k.mean * kpis.volume_per_month / 1000
