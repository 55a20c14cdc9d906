"""Asset checks: what is true of each stored object, recorded with every materialization.

Those of the gate stand on `registered_model` and stop what follows. The others say early, where it arises, what
the gate will say late; only a leak stops the run, since nothing measured after it means anything.
"""

from collections.abc import Callable
from typing import Any

import dagster as dg

from evals.records import Forgetting, Scorecard
from evals.table import size, usd
from registry.gate import Decision
from supply_chain.recipe import Recipe
from supply_chain.records import Artifact, Curated, Parity, Predictions, Splits
from supply_chain.store import Stored

_CHECKS = {
    "curated_data": ("data_quality", "Most rows are kept, and few of them are suspect."),
    "splits": ("no_leak", "No id, group, text or near-duplicate cluster stands in two splits."),
    "parity": ("parity", "Every artifact is, hop by hop, the model that was trained."),
    "quantized_model": ("size", "The candidate is no larger than allowed, or than full precision."),
    "scorecard": ("kpis", "The candidate costs less than what it could be replaced by."),
    "forgetting": ("forgetting", "Earlier test sets are still answered."),
}
_KEPT, _SUSPECT = 0.5, 0.1


def checked(recipe: Recipe, asset: str) -> dict[str, Any]:
    """The option of an asset that says how it is checked."""
    name, says = _CHECKS[asset]
    key = dg.AssetKey([recipe.name, asset])
    return {"check_specs": [dg.AssetCheckSpec(name, asset=key, description=says, blocking=name == "no_leak")]}


def data_quality(found: Curated) -> dg.AssetCheckResult:
    """Warns when more than half of the rows were rejected, or more than a tenth of the kept ones are flagged."""
    kept, flagged = found.rows_kept / max(1, found.rows_read), sum(found.flagged.values())
    suspect = flagged / max(1, found.rows_kept)
    sentence = f"{found.rows_kept:,} of {found.rows_read:,} rows are kept ({kept:.1%}), {flagged:,} flags among them."
    return _result("curated_data", kept >= _KEPT and suspect <= _SUSPECT, sentence, kept=kept, flagged=suspect)


def no_leak(found: Stored[Splits]) -> dg.AssetCheckResult:
    """Counts again, from the stored rows, what stands in two splits; anything that does stops the run."""
    from supply_chain.data.leaks import leaks  # noqa: PLC0415 (polars: definitions do without)

    shared = leaks(found)
    told = ", ".join(f"{number} {name}s" for name, number in shared.items())
    return _result("splits", not any(shared.values()), f"In two splits: {told}.", dg.AssetCheckSeverity.ERROR, **shared)


def parity(found: list[Stored[Parity]]) -> dg.AssetCheckResult:
    """How near the closest check came to its bound; a failed one has ended the run before."""
    findings = [finding for stored in found for finding in stored.record.findings]
    used = {f.name: f.measured / f.bound for f in findings if f.measured is not None and f.bound}
    closest = max(used, key=lambda name: used[name], default=None)
    told = f"; the closest, {closest}, uses {used[closest]:.0%} of its bound" if closest else ""
    passed = sum(f.passed for f in findings)
    return _result("parity", passed == len(findings), f"{passed} of {len(findings)} checks hold{told}.")


def model_size(recipe: Recipe, model: Stored[Artifact], answers: list[Stored[Predictions]]) -> dg.AssetCheckResult:
    """Against `promote.max_size_mb`; without it, against full precision."""
    full = next(a.record.size_bytes for a in answers if a.record.contestant == "specialist")
    allowed = recipe.promote.max_size_mb
    bound = full if allowed is None else int(allowed * 1e6)
    against = "full precision takes" if allowed is None else "promote.max_size_mb allows"
    sentence = f"The candidate takes {size(model.size_bytes)}; {against} {size(bound)}."
    return _result("quantized_model", model.size_bytes <= bound, sentence, measured=model.size_bytes, allowed=bound)


def kpis(card: Scorecard) -> dg.AssetCheckResult:
    """Warns when a baseline answers for less money, mistakes included, or a month with the generalist costs less."""
    candidate = card.contestant(card.candidate)
    assert candidate is not None
    own = {card.candidate, "specialist", "champion", *(hop.contestant for hop in card.hops)}
    others = [c for c in card.contestants if c.name not in own]
    cheapest = min(others, key=lambda c: c.usd_per_1k.mean, default=None)
    price, told = candidate.usd_per_1k.mean, [f"1,000 decisions cost {usd(candidate.usd_per_1k.mean)}"]
    passed = cheapest is None or price <= cheapest.usd_per_1k.mean
    if cheapest is not None:
        told.append(f"with {cheapest.title} {usd(cheapest.usd_per_1k.mean)}")
    if card.tco is not None:
        saving = card.tco.saving_usd_per_month
        passed = passed and saving > 0
        told.append(f"a month {'saves' if saving > 0 else 'loses'} {usd(abs(saving))} against the generalist")
    return _result("scorecard", passed, f"{', '.join(told)}.", usd_per_1k=price)


def forgotten(recipe: Recipe, found: Forgetting) -> dg.AssetCheckResult:
    """Against `promote.max_forgetting`; without it, warns of what is shown to be forgotten."""
    limit, average = recipe.promote.max_forgetting, found.average
    if average is None:
        return _result("forgetting", True, "There is no earlier test set that could tell.")
    passed = average.high <= limit if limit is not None else average.low <= 0
    sentence = (
        f"Average forgetting is {average.mean:+.3f} of accuracy "
        f"(95 % interval {average.low:+.3f} to {average.high:+.3f}, {average.n} rows)."
    )
    return _result("forgetting", passed, sentence, average=average.mean)


def gate_results(judged: Decision, asset: dg.AssetKey, name: Callable[[str], str]) -> list[dg.AssetCheckResult]:
    """One blocking check for each of the gate's."""
    return [
        dg.AssetCheckResult(
            asset_key=asset,
            check_name=name(check.name),
            passed=check.passed,
            description=check.sentence,
            metadata={k: v for k, v in (("measured", check.measured), ("required", check.required)) if v is not None},
        )
        for check in judged.checks
    ]


def _result(
    asset: str, passed: bool, sentence: str, severity: dg.AssetCheckSeverity = dg.AssetCheckSeverity.WARN, **found: Any
) -> dg.AssetCheckResult:
    name = _CHECKS[asset][0]
    return dg.AssetCheckResult(
        passed=bool(passed), check_name=name, severity=severity, description=sentence, metadata=found
    )
