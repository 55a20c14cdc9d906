"""Checks that a recipe asks for by a key of `promote`; each answers in a sentence."""

import math
from collections.abc import Callable

from evals.metrics import TITLES
from evals.records import Contestant, Scorecard
from registry.check import Check, absent, against, apart, difference, is_measured, settled

_ALPHA = 0.05


def _generalist(margin: float, card: Scorecard, candidate: Contestant) -> Check:
    found = difference(card, "generalist")
    if found is None:
        return absent("generalist", "generalist")
    passed = found.low >= -margin
    sentence = (
        f"{against(card, 'generalist', found)}; its lower bound {'stays within' if passed else 'exceeds'} "
        f"the allowed loss of {margin:g}.{' It is better.' * (found.low > 0) if passed else settled(found, -margin)}"
    )
    return Check(name="generalist", passed=passed, measured=found.low, required=-margin, sentence=sentence)


def _valid(required: float, card: Scorecard, candidate: Contestant) -> Check:
    found = candidate.metrics.get("valid")
    if found is None or not is_measured(found):
        return absent("valid", f"whether {candidate.name} writes answers that can be read")
    passed = found.low >= required
    sentence = (
        f"{found.mean:.1%} of the answers can be read (at least {found.low:.1%} with 95 % confidence, {found.n} rows); "
        f"{'this reaches' if passed else 'this does not reach'} the required {required:.1%}."
    )
    return Check(name="valid", passed=passed, measured=found.low, required=required, sentence=sentence)


def _unscored(allowed: float, card: Scorecard, candidate: Contestant) -> Check:
    rows, metric = candidate.unscored.get(card.metric, 0), TITLES[card.metric]
    share, passed = rows / card.rows, rows / card.rows <= allowed
    sentence = (
        f"{metric[0].upper()}{metric[1:]} could not be scored on {rows} of {card.rows} rows ({share:.1%}), "
        f"{'within' if passed else 'more than'} the allowed {allowed:.1%}."
    )
    return Check(name="unscored", passed=passed, measured=share, required=allowed, sentence=sentence)


def _judged(required: float, card: Scorecard, candidate: Contestant) -> Check:
    found = card.judgement.candidate if card.judgement else None
    if card.judgement is None or found is None or not is_measured(found):
        return absent("judged", f"a judge of {candidate.name}")
    passed = found.low >= required
    sentence = (
        f"{card.judgement.model} judges {found.mean:.1%} of {found.n} answers at least as good as the reference "
        f"(at least {found.low:.1%} with 95 % confidence; {card.judgement.unscored} could not be judged); "
        f"{'this reaches' if passed else 'this does not reach'} the required {required:.1%}."
    )
    return Check(name="judged", passed=passed, measured=found.low, required=required, sentence=sentence)


def _kappa(required: float, card: Scorecard, candidate: Contestant) -> Check:
    agreement = card.judgement.agreement if card.judgement else None
    if agreement is None or not is_measured(agreement.kappa):
        return absent("kappa", "the judge's agreement with experts")
    found = agreement.kappa
    passed = found.low >= required
    sentence = (
        f"Judge and experts agree with a kappa of {found.mean:.2f} (95 % interval {found.low:.2f} to {found.high:.2f}, "
        f"{found.n} pairs); its lower bound {'reaches' if passed else 'does not reach'} the required {required:g}."
    )
    return Check(name="kappa", passed=passed, measured=found.low, required=required, sentence=sentence)


def _mended(required: float, card: Scorecard, candidate: Contestant) -> Check:
    found = card.mended
    if found is None or not found.rows:
        return absent("mended", f"{candidate.name} on experts' corrections")
    share = found.right / found.rows
    passed = share >= required
    sentence = (
        f"Of {found.rows} texts that experts corrected, {found.right} are answered as they said ({share:.1%}); "
        f"{'this reaches' if passed else 'this does not reach'} the required {required:.1%}."
        f"{f' The champion has {found.lost} right that are wrong now.' if found.lost else ''}"
    )
    return Check(name="mended", passed=passed, measured=share, required=required, sentence=sentence)


def _outside(required: float, card: Scorecard, candidate: Contestant) -> Check:
    outside = card.confidence.outside if card.confidence else None
    found = outside.caught if outside else None
    if found is None or not is_measured(found):
        return absent("outside", f"{candidate.name} with questions out of scope")
    passed = found.low >= required
    sentence = (
        f"Of {found.n} questions out of scope, {found.mean:.1%} are passed on or told apart (at least {found.low:.1%} "
        f"with 95 % confidence); {'this reaches' if passed else 'this does not reach'} the required {required:.1%}."
    )
    return Check(name="outside", passed=passed, measured=found.low, required=required, sentence=sentence)


def _slices(required: float, card: Scorecard, candidate: Contestant) -> Check:
    """Refuses what is shown to be bad somewhere; few rows show little, and the sentence says how many did."""
    highest = {s.name: s.estimate.high for s in card.slices if s.estimate is not None}
    silent = [s.name for s in card.slices if s.estimate is None]
    low = [name for name, high in highest.items() if high < required]
    worse = [s.name for s in card.slices if s.losses > s.wins and s.p_value < _ALPHA]
    faults = [
        *([f"shown to lie below {required:g}: {', '.join(low)}"] if low else []),
        *([f"shown to be worse than before: {', '.join(worse)}"] if worse else []),
        *([f"no evidence: {', '.join(silent)}"] if silent else []),
    ]
    passed = bool(highest) and not faults
    told = "; ".join(faults) or f"none is shown to lie below {required:g} or to be worse than before"
    sentence = f"Of {len(card.slices)} slices of the test rows, {told}."
    lowest = min(highest.values(), default=None)
    return Check(name="slices", passed=passed, measured=lowest, required=required, sentence=sentence)


def _robustness(allowed: float, card: Scorecard, candidate: Contestant) -> Check:
    if not card.robustness:
        return absent("robustness", f"{card.candidate} on perturbed texts")
    worst = min(card.robustness, key=lambda s: s.change.low)
    drop = -worst.change.low
    passed = drop <= allowed
    sentence = (
        f"Of {len(card.robustness)} perturbations, {worst.kind} costs the most {TITLES[card.metric]}: "
        f"{-worst.change.mean:.3f} (up to {apart(drop, allowed)} with 95 % confidence, {worst.rows} rows), "
        f"{'within' if passed else 'more than'} the allowed {allowed:g}."
    )
    return Check(name="robustness", passed=passed, measured=drop, required=allowed, sentence=sentence)


def _forgetting(allowed: float, card: Scorecard, candidate: Contestant) -> Check:
    found = card.forgetting
    if found is None:
        return absent("forgetting", f"{candidate.name} on earlier test sets")
    if not found.tests and not found.gone:
        sentence = "There is no earlier test set yet that it could have forgotten."
        return Check(name="forgetting", passed=True, measured=None, required=allowed, sentence=sentence)
    average = found.average
    if average is None or not is_measured(average):
        return absent("forgetting", f"{candidate.name} on rows of earlier test sets that no version was trained on")
    passed = average.high <= allowed
    sets = sum(bool(test.accuracy) for test in found.tests)
    sentence = (
        f"On {sets} earlier test set{'s' if sets > 1 else ''}, average forgetting is {average.mean:.3f} of accuracy "
        f"(95 % interval {average.low:+.3f} to {apart(average.high, allowed)}, {average.n} rows); its upper bound "
        f"{'stays within' if passed else 'exceeds'} the allowed {allowed:g}."
    )
    return Check(name="forgetting", passed=passed, measured=average.high, required=allowed, sentence=sentence)


def _cost(limit: float, card: Scorecard, candidate: Contestant) -> Check:
    found = candidate.usd_per_1k
    if not is_measured(found):
        return absent("cost", card.candidate)
    passed = found.high <= limit
    sentence = (
        f"1,000 decisions cost ${found.mean:.4f} (95 % interval ${found.low:.4f} to ${found.high:.4f}, mistakes "
        f"included); the upper bound {'stays within' if passed else 'exceeds'} the allowed ${limit:g}."
    )
    return Check(name="cost", passed=passed, measured=found.high, required=limit, sentence=sentence)


def _p95(limit: float, card: Scorecard, candidate: Contestant) -> Check:
    return _limit("p95", candidate.p95_ms, limit, "The 95th percentile of a decision's time is", "ms")


def _size(limit: float, card: Scorecard, candidate: Contestant) -> Check:
    return _limit("size", candidate.size_bytes / 1e6, limit, "The model's files take", "MB")


def _limit(name: str, found: float, limit: float, subject: str, unit: str) -> Check:
    if not math.isfinite(found):
        return absent(name, "the candidate")
    passed = found <= limit
    shown = apart(found, limit, digits=1)
    sentence = f"{subject} {shown} {unit}, {'within' if passed else 'more than'} the allowed {limit:g} {unit}."
    return Check(name=name, passed=passed, measured=found, required=limit, sentence=sentence)


OPTIONAL: dict[str, tuple[str, Callable[[float, Scorecard, Contestant], Check]]] = {
    "generalist": ("generalist_margin", _generalist),
    "valid": ("min_valid", _valid),
    "judged": ("min_judged", _judged),
    "kappa": ("min_kappa", _kappa),
    "mended": ("min_mended", _mended),
    "outside": ("min_outside_caught", _outside),
    "unscored": ("max_unscored", _unscored),
    "slices": ("slice_minimum", _slices),
    "robustness": ("max_drop", _robustness),
    "forgetting": ("max_forgetting", _forgetting),
    "p95": ("max_p95_ms", _p95),
    "size": ("max_size_mb", _size),
    "cost": ("max_usd_per_1k", _cost),
}
"""Checks that are asked for by a key of `promote`."""
