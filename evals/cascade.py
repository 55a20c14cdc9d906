"""What candidate and generalist come to together: the one answers where it is sure enough, the other elsewhere."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from evals.estimate import Bench
from evals.generalist import price_per_1k
from evals.kpi import machine_usd, usd_per_1k
from evals.paid import Generalist, Together
from supply_chain.pricing import passed_on_usd
from supply_chain.recipe.evaluate import Evaluate
from supply_chain.records import Predictions


@dataclass(frozen=True)
class Side:
    """One contestant's record and its answers in the rows' order."""

    record: Predictions
    answers: Sequence[str]
    confidences: Sequence[float]


def measured_price(spec: Evaluate, record: Predictions | None) -> float | None:
    """US dollars that 1,000 of the generalist's answers were paid; None where there is none or its price is open."""
    if spec.generalist is None or record is None or record.paid is None:
        return None
    return price_per_1k(spec.generalist.endpoint, record.paid)


def generalist_of(bench: Bench, spec: Evaluate, generalist: Side, candidate: Side) -> Generalist:
    """What the generalist was paid, and what both come to at the threshold that the candidate's artifact promises."""
    paid, price = generalist.record.paid, measured_price(spec, generalist.record)
    assert paid is not None
    return Generalist(
        model=paid.model,
        rows=generalist.record.rows,
        unreadable=paid.unreadable,
        tokens_in=paid.tokens_in,
        tokens_out=paid.tokens_out,
        uncounted=paid.uncounted,
        usd_per_1k=price,
        together=_together(bench, spec, generalist, candidate),
    )


def _together(bench: Bench, spec: Evaluate, generalist: Side, candidate: Side) -> Together | None:
    promise = candidate.record.escalation
    if promise is None:
        return None
    passed = (np.asarray(candidate.confidences) < promise.threshold).astype(np.float64)
    pairs = zip(passed, generalist.answers, candidate.answers, strict=True)
    both = [theirs if on else own for on, theirs, own in pairs]
    one_usd = passed_on_usd(spec.kpis, measured_price(spec, generalist.record))
    own_usd = machine_usd(spec.kpis, candidate.record.p50_ms / 1000)
    return Together(
        escalated=float(passed.mean()),
        metric=bench.estimate(spec.metric, both),
        against_generalist=bench.difference(spec.metric, both, generalist.answers),
        usd_per_1k=None
        if one_usd is None
        else usd_per_1k(bench, spec.kpis, both, np.asarray(own_usd + passed * one_usd)),
    )
