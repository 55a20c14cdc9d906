"""Splits once, by group and seed, then proves that nothing stands on two sides."""

from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import polars as pl
import pyarrow as pa
import scipy  # its parts are loaded when they are first used
from rapidfuzz import fuzz, process

from supply_chain.data.examples import NAMES
from supply_chain.data.judge import instant
from supply_chain.data.near_keys import folded
from supply_chain.data.same import key_of, same_text
from supply_chain.data.table import TableWriter, read_batches
from supply_chain.data.target import names_in
from supply_chain.errors import InvalidInput
from supply_chain.identity import canonical_json, identity
from supply_chain.recipe.data import SplitSpec
from supply_chain.records import Curated, Example, Splits
from supply_chain.store import Store, Stored

VERSION = 2
_COMPARISONS = 2_000_000
Ints = npt.NDArray[np.int64]


def split(curated: Stored[Curated], spec: SplitSpec, seed: int, store: Store) -> Stored[Splits]:
    """Assigns whole groups, with their near duplicates, to train, validation and test.

    Raises InvalidInput for a leak, naming the examples, or when a split lacks a label.
    """
    key = identity("splits", VERSION, data=curated.digest, split=spec, seed=seed)
    return store.once(Splits, key, lambda folder: _split(curated, spec, seed, folder))


def check_leaks(parts: dict[str, list[Example]]) -> dict[str, int]:
    """Raises InvalidInput if an id, group, text or cluster stands in two parts; returns the numbers checked."""
    checked = {}
    for what, of in (
        ("id", lambda e: e.id),
        ("group", lambda e: e.group),
        ("text", lambda e: same_text(e.text)),
        ("near-duplicate cluster", lambda e: e.cluster or None),
    ):
        seen: dict[Any, tuple[str, Example]] = {}
        leaks = []
        for name, examples in parts.items():
            for example in examples:
                value = of(example)
                if value is None:
                    continue
                other, twin = seen.setdefault(value, (name, example))
                if other != name:
                    leaks.append(f"{other} line {twin.line} and {name} line {example.line}")
        if leaks:
            shown = "; ".join(leaks[:5]) + (f" and {len(leaks) - 5} more" if len(leaks) > 5 else "")
            raise InvalidInput(
                f"leak: the same {what} stands in two splits: {shown}. Set data.group or drop duplicates."
            )
        checked[what] = len(seen)
    return checked


def _split(curated: Stored[Curated], spec: SplitSpec, seed: int, folder: Path) -> Splits:
    path = curated.verify().path / "examples.parquet"
    frame = pl.read_parquet(path, columns=["label", "group", "cluster", "time"])
    units = _units(frame)
    sides = _by_time(frame["time"], units, spec) if spec.time else _by_draw(frame["label"], units, spec, seed)
    checked = _prove(path, frame, sides)
    rows: dict[str, dict[str, int]] = {}
    for number, name in enumerate(NAMES):
        rows[name] = _write_part(path, folder / f"{name}.parquet", sides == number, curated.record.task)
        missing = set(curated.record.labels) - set(rows[name])
        if missing and curated.record.task in {"classification", "multilabel"}:
            shown = ", ".join(sorted(missing))
            raise InvalidInput(f"split {name} has no row of {shown}: add rows or raise its share")
        if not (sides == number).any():
            raise InvalidInput(
                f"split {name} has no row: a group or near-duplicate cluster is larger than its share; "
                "lower rules.near_duplicates.family, or set its action to `drop` or `keep`"
            )
    proof = {
        "disjoint": checked,
        "exhaustive": _exhaustive(path, sides, seed),
        "seed": seed,
        "rows": {n: int((sides == i).sum()) for i, n in enumerate(NAMES)},
    }
    (folder / "proof.json").write_text(canonical_json(proof), encoding="utf-8")
    return Splits(
        data_digest=curated.digest,
        seed=seed,
        labels=curated.record.labels,
        rows=rows,
        groups={n: frame["group"].filter(pl.Series(sides == i)).n_unique() for i, n in enumerate(NAMES)},
        license=curated.record.license,
        attribution=curated.record.attribution,
        task=curated.record.task,
        sensitivity=curated.record.sensitivity,
        zone=curated.record.zone,
    )


def _units(frame: pl.DataFrame) -> Ints:
    """What must stay together: rows linked by a group or a near-duplicate cluster get one number."""
    groups = np.unique(frame["group"].to_numpy(), return_inverse=True)[1] if len(frame) else np.empty(0, int)
    clusters = frame["cluster"].to_numpy()
    linked = np.flatnonzero(clusters > 0)
    n = int(groups.max(initial=-1)) + 1
    size = n + int(clusters.max(initial=0)) + 1
    graph = scipy.sparse.coo_matrix((np.ones(len(linked)), (groups[linked], n + clusters[linked])), shape=(size, size))
    return scipy.sparse.csgraph.connected_components(graph, directed=False)[1][groups].astype(np.int64)


def _by_draw(labels: pl.Series, units: Ints, spec: SplitSpec, seed: int) -> npt.NDArray[np.int8]:
    """A seeded draw of whole units, within each unit's first label, until the shares are filled."""
    unit, first, inverse, sizes = np.unique(units, return_index=True, return_inverse=True, return_counts=True)
    codes = np.unique(labels.to_numpy(), return_inverse=True)[1]
    few_labels = spec.stratify and len(labels) > 0 and codes.max() < len(labels) / 4
    strata = codes[first] if few_labels else np.zeros(len(unit), dtype=np.int64)
    drawn = np.random.default_rng(seed).permutation(len(unit))
    order = drawn[np.argsort(strata[drawn], kind="stable")]
    side = np.zeros(len(unit), dtype=np.int8)
    for mine in np.split(order, np.flatnonzero(np.diff(strata[order])) + 1):
        total = sizes[mine].sum()
        quota = {2: spec.test * total, 1: spec.validation * total}
        have = {2: 0, 1: 0}
        for one in mine.tolist():
            to = next((s for s in quota if have[s] + sizes[one] / 2 <= quota[s]), 0)
            side[one] = to
            if to:
                have[to] += int(sizes[one])
            elif all(have[s] + 0.5 > quota[s] for s in quota):
                break
    return side[inverse]


def _by_time(times: pl.Series, units: Ints, spec: SplitSpec) -> npt.NDArray[np.int8]:
    """The latest rows test, those before validate; a unit goes where its latest row goes."""
    moments = np.array([instant(t) for t in times.to_list()])
    _, inverse = np.unique(units, return_inverse=True)
    latest = np.full(inverse.max(initial=-1) + 1, -np.inf)
    np.maximum.at(latest, inverse, moments)
    last = latest[inverse]
    test, validation = np.quantile(last, [1 - spec.test, 1 - spec.test - spec.validation], method="higher")
    return np.where(last >= test, 2, np.where(last >= validation, 1, 0)).astype(np.int8)


def _prove(path: Path, frame: pl.DataFrame, sides: npt.NDArray[np.int8]) -> dict[str, int]:
    """`check_leaks` on hashes, so that it holds for any number of rows; suspects are compared in full."""
    texts, ids = [], []
    for batch in read_batches(path, ["text", "id"]):
        texts += [np.fromiter((key_of(same_text(t)) for t in batch["text"].to_pylist()), np.uint64, len(batch))]
        ids += [np.fromiter((key_of(t) for t in batch["id"].to_pylist()), np.uint64, len(batch))]
    columns = {
        "id": np.concatenate(ids) if ids else np.empty(0, np.uint64),
        "group": np.unique(frame["group"].to_numpy(), return_inverse=True)[1],
        "text": np.concatenate(texts) if texts else np.empty(0, np.uint64),
        "near-duplicate cluster": frame["cluster"].to_numpy(),
    }
    suspects = np.zeros(len(sides), dtype=bool)
    checked = {}
    for what, keys in columns.items():
        rows = np.flatnonzero(keys > 0) if what == "near-duplicate cluster" else np.arange(len(keys))
        unique, inverse = np.unique(keys[rows], return_inverse=True)
        low, high = np.full(len(unique), 9, np.int8), np.full(len(unique), -1, np.int8)
        np.minimum.at(low, inverse, sides[rows])
        np.maximum.at(high, inverse, sides[rows])
        suspects[rows] |= (low != high)[inverse]
        checked[what] = len(unique)
    if suspects.any():
        table = pl.read_parquet(path).filter(pl.Series(suspects)).to_dicts()
        found = list(zip((Example.model_construct(**row) for row in table), sides[suspects].tolist(), strict=True))
        check_leaks({name: [e for e, s in found if s == number] for number, name in enumerate(NAMES)})
    return checked


def _exhaustive(path: Path, sides: npt.NDArray[np.int8], seed: int) -> dict[str, float]:
    """Compares a draw of test rows with every training row, without any index: evidence that none was missed."""
    train, test = np.flatnonzero(sides == 0), np.flatnonzero(sides == 2)
    number = min(len(test), 200, _COMPARISONS // max(1, len(train)))
    if number == 0:
        return {"test_rows": 0, "train_rows": len(train)}
    drawn = np.sort(np.random.default_rng(seed).choice(test, number, replace=False))
    texts = pl.read_parquet(path, columns=["text"])["text"]
    plain = [" ".join(sorted(t.split())) for t in folded(texts.gather(train)).to_list()]
    probes = [" ".join(sorted(t.split())) for t in folded(texts.gather(drawn)).to_list()]
    closest = process.cdist(probes, plain, scorer=fuzz.ratio, dtype=np.uint8, workers=1).max(axis=1)
    return {
        "test_rows": number,
        "train_rows": len(train),
        "median_similarity": float(np.median(closest)) / 100,
        "highest_similarity": float(closest.max()) / 100,
        "share_above_0.9": float(np.mean(closest >= 90)),
    }


def _write_part(source: Path, path: Path, mine: npt.NDArray[np.bool_], task: str) -> dict[str, int]:
    counts: Counter[str] = Counter()
    start = 0
    with TableWriter(path, Example) as part:
        for batch in read_batches(source):
            table = pa.Table.from_batches([batch]).filter(pa.array(mine[start : start + len(batch)]))
            start += len(batch)
            part.add_table(table)
            for entry in table["label"].value_counts().to_pylist():
                for name in names_in(task, entry["values"]):
                    counts[name] += entry["counts"]
    return dict(sorted(counts.items()))
