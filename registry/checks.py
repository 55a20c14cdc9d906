"""What a gate asks of the evidence, one function for each question; each answers in a sentence.

Limits on measured quality and cost hold at the unfavourable end of the 95 % interval, so that a
lucky sample does not ship. A contestant that was not measured is "no evidence" and never passes.
"""

from collections.abc import Iterator

from evals.metrics import TITLES
from evals.records import Contestant, Scorecard
from registry.check import Check, absent, against, apart, difference, is_measured, settled
from registry.optional_checks import OPTIONAL
from supply_chain.recipe.promote import Promote


def check_names(promote: Promote) -> list[str]:
    """The checks that a policy asks for, in order."""
    return [
        "minimum",
        *(f"beats {name}" for name in promote.beats),
        "champion",
        "quantization",
        *(name for name, (key, _) in OPTIONAL.items() if getattr(promote, key) is not None),
        *(f"task {name}" for name in promote.tasks),
    ]


def checks(promote: Promote, card: Scorecard, candidate: Contestant) -> Iterator[Check]:
    """Every check of `check_names`, answered."""
    yield _minimum(promote.minimum, card, candidate)
    for name in promote.beats:
        yield _beats(name, card)
    yield _champion(promote.champion_margin, card)
    yield _quantization(promote.quantization_loss, card)
    for key, ask in OPTIONAL.values():
        limit = getattr(promote, key)
        if limit is not None:
            yield ask(limit, card, candidate)
    for task, least in promote.tasks.items():
        yield _task(task, least, card)


def _minimum(required: float, card: Scorecard, candidate: Contestant) -> Check:
    found, metric = candidate.metric(card.metric), TITLES[card.metric]
    if not is_measured(found):
        return absent("minimum", card.candidate)
    passed = found.low >= required
    low = apart(found.low, required)
    sentence = (
        f"{metric[0].upper()}{metric[1:]} is {found.mean:.3f} (95 % interval {low} to {found.high:.3f}, "
        f"{found.n} rows); its lower bound {'reaches' if passed else 'does not reach'} the required {required:g}."
        f"{'' if passed else settled(found, required)}"
    )
    return Check(name="minimum", passed=passed, measured=found.low, required=required, sentence=sentence)


def _beats(name: str, card: Scorecard) -> Check:
    found = difference(card, name)
    if found is None:
        return absent(f"beats {name}", name)
    passed = found.low > 0
    ending = "so it is better" if passed else "which does not show that it is better"
    sentence = f"{against(card, name, found)}, {ending}.{'' if passed else settled(found, 0.0)}"
    return Check(name=f"beats {name}", passed=passed, measured=found.low, required=0.0, sentence=sentence)


def _champion(margin: float, card: Scorecard) -> Check:
    if card.contestant("champion") is None:
        sentence = "There is no champion yet that it could be worse than."
        return Check(name="champion", passed=True, measured=None, required=-margin, sentence=sentence)
    found = difference(card, "champion")
    if found is None:
        return absent("champion", "champion")
    passed = found.low >= -margin
    sentence = (
        f"{against(card, 'champion', found)}; its lower bound {'stays within' if passed else 'exceeds'} "
        f"the allowed loss of {margin:g}.{' It is better.' * (found.low > 0) if passed else settled(found, -margin)}"
    )
    return Check(name="champion", passed=passed, measured=found.low, required=-margin, sentence=sentence)


def _quantization(allowed: float, card: Scorecard) -> Check:
    """Compares the mean, not the bound: this asks whether one step broke the model.

    What ships is held to its own lower bounds by the other checks. At some hundred test rows the
    interval of this difference is wider than any sensible allowance, so that its bound would
    refuse a format for the size of the test split.
    """
    found = difference(card, "specialist")
    if found is None:
        return absent("quantization", "specialist")
    loss = -found.mean
    passed = loss <= allowed
    sentence = (
        f"In the format {card.candidate}, it {'loses' if loss > 0 else 'gains'} {apart(abs(loss), allowed)} "
        f"{TITLES[card.metric]} against full precision (95 % interval of the change {found.low:+.3f} to "
        f"{found.high:+.3f}); a mean loss of up to {allowed:g} is allowed."
    )
    return Check(name="quantization", passed=passed, measured=loss, required=allowed, sentence=sentence)


def _task(name: str, limit: float, card: Scorecard) -> Check:
    """A task of lm-eval, at the unfavourable end of its interval, whichever end that is."""
    found = next((one for one in card.stock if one.name == name), None)
    if found is None or not is_measured(found.candidate):
        known = ", ".join(one.name for one in card.stock) or "no task"
        return absent(f"task {name}", f"{card.candidate} with {name} (of {known})")
    seen = found.candidate
    bound, end, most = (seen.low, "lower", "least") if found.higher_is_better else (seen.high, "upper", "most")
    passed = bound >= limit if found.higher_is_better else bound <= limit
    sentence = (
        f"{name} is {seen.mean:.3f} (95 % interval {seen.low:.3f} to {seen.high:.3f}, {seen.n} rows; the base has "
        f"{found.base.mean:.3f}); its {end} bound {'keeps' if passed else 'does not keep'} to the {most} allowed, "
        f"{limit:g}."
    )
    return Check(name=f"task {name}", passed=passed, measured=bound, required=limit, sentence=sentence)
