"""What a recipe's `kpis` say that answers cost: the gate, the report and the choice of a threshold take the same."""

import difflib
from collections.abc import Callable, Sequence

from supply_chain.errors import InvalidInput
from supply_chain.recipe.data import Task
from supply_chain.recipe.evaluate import Kpis


def passed_on_usd(kpis: Kpis, measured_per_1k: float | None = None) -> float | None:
    """US dollars for one answer that is passed on; None where nobody says.

    `measured_per_1k`, what a generalist was really paid, comes before what the recipe states of it.
    """
    if kpis.escalation_usd is not None:
        return kpis.escalation_usd
    per_1k = kpis.generalist_usd_per_1k if measured_per_1k is None else measured_per_1k
    return None if per_1k is None else per_1k / 1000


def pricing(task: Task, kpis: Kpis, labels: Sequence[str]) -> Callable[[str, str], float]:
    """US dollars of (truth, answer): each kind of mistake has its price, a written answer is right or wrong.

    No answer, as a generalist may give none that can be read, is a mistake that `kpis.mistakes` does not name.

    Raises InvalidInput when `kpis.mistakes` names a label that does not exist.
    """
    if task != "classification":
        return lambda truth, answer: 0.0 if truth == answer else kpis.mistake_usd
    prices = mistake_prices(kpis, labels)
    return lambda truth, answer: prices[truth, answer] if answer else kpis.mistake_usd


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
