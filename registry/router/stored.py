"""The router of a fleet: trained once for its specialists' data, evaluated, gated, stored."""

from pathlib import Path
from typing import ClassVar

import numpy as np

from evals.estimates import Estimate
from evals.intervals import effective_rows, share_interval
from registry.fleet import RouterPolicy
from registry.router.train import Row, evaluate, fit
from registry.router.words import wordllama_words
from registry.routing import Model
from supply_chain.data.examples import read_split
from supply_chain.errors import EvidenceMismatch, InvalidInput
from supply_chain.identity import identity
from supply_chain.records import Splits
from supply_chain.store import Record, Store, Stored

VERSION = 1
MAX_ROWS = 5000
"""Rows of one split of one specialist that take part; the first ones."""


class RouterRecord(Record):
    """`router.safetensors` and `router.json`; figures on the specialists' test rows."""

    kind: ClassVar[str] = "router"
    splits: dict[str, str]
    """Digest of the data, by specialist."""
    accuracy: Estimate
    """Share of test rows that reach their specialist, foreign or not."""
    false_rejection: Estimate
    """Share of test rows that are taken for foreign."""


def router_of(models: list[Model], policy: RouterPolicy, store: Store) -> Stored[RouterRecord] | None:
    """The router for these specialists, trained if it is not stored yet; None for fewer than two.

    Raises InvalidInput when it does not reach `policy`, EvidenceMismatch when a specialist's data are gone.
    """
    if len(models) < 2:
        return None
    splits = {model.name: model.splits_sha256 for model in models}
    key = identity("router", VERSION, splits=splits, false_rejection=policy.false_rejection)
    stored = store.once(RouterRecord, key, lambda folder: _make(folder, models, policy, store))
    found = stored.record.accuracy
    if found.low < policy.min_accuracy:
        raise InvalidInput(
            f"the router sends {found.mean:.3f} of the test rows to their specialist (95 % interval {found.low:.3f} to "
            f"{found.high:.3f}, {found.n} rows); fleet.yaml asks for {policy.min_accuracy:g} at the lower bound. Tell "
            "the specialists' data apart, lower router.min_accuracy, or leave router out and route by keywords"
        )
    return stored


def _make(folder: Path, models: list[Model], policy: RouterPolicy, store: Store) -> RouterRecord:
    data = _data(models, store)
    train, validation, test = ([row for m in models for row in _rows(m, data, name)[0]] for name in _PARTS)
    classifier = fit(train, validation, wordllama_words(), policy.false_rejection)
    classifier.save(folder)
    groups = [f"{m.name}/{group}" for m in models for group in _rows(m, data, "test")[1]]
    figures = [evaluate(classifier, [row]) for row in test]
    return RouterRecord(
        splits={model.name: model.splits_sha256 for model in models},
        accuracy=_estimate([f.accuracy for f in figures], groups),
        false_rejection=_estimate([f.false_rejection for f in figures], groups),
    )


_PARTS = ("train", "validation", "test")


def _data(models: list[Model], store: Store) -> dict[str, Stored[Splits]]:
    wanted = {model.splits_sha256 for model in models}
    found = {stored.digest: stored for stored in store.all(Splits) if stored.digest in wanted}
    gone = [model.name for model in models if model.splits_sha256 not in found]
    if gone:
        raise EvidenceMismatch(f"the data of {', '.join(gone)} are not in the store, so that no router can be trained")
    return {digest: stored.verify() for digest, stored in found.items()}


def _rows(model: Model, data: dict[str, Stored[Splits]], name: str) -> tuple[list[Row], list[str]]:
    splits = data[model.splits_sha256]
    labelled = splits.record.task == "classification"
    examples = read_split(splits, name)[:MAX_ROWS]
    return [Row(e.text, model.name, e.label if labelled else "") for e in examples], [e.group for e in examples]


def _estimate(values: list[float], groups: list[str]) -> Estimate:
    array, (names, of) = np.array(values), np.unique(np.array(groups), return_inverse=True)
    mean = float(array.mean())
    low, high = share_interval(mean, effective_rows(array, of, len(names)))
    return Estimate(mean=mean, low=low, high=high, n=len(values))
