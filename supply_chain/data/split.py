"""Splits once, by group and seed, then proves that nothing stands on two sides."""

import random
from collections import Counter, defaultdict
from pathlib import Path

from supply_chain.data.curate import same_text
from supply_chain.data.table import read_table, write_table
from supply_chain.errors import InvalidInput
from supply_chain.identity import canonical_json, identity
from supply_chain.recipe.data import SplitSpec
from supply_chain.records import Curated, Example, Splits
from supply_chain.store import Store, Stored

VERSION = 1
NAMES = ("train", "validation", "test")


def split(curated: Stored[Curated], spec: SplitSpec, seed: int, store: Store) -> Stored[Splits]:
    """Assigns whole groups to train, validation and test.

    Raises InvalidInput for a leak, naming the examples, or when a split lacks a label.
    """
    key = identity("splits", VERSION, data=curated.digest, split=spec, seed=seed)
    return store.once(Splits, key, lambda folder: _split(curated, spec, seed, folder))


def read_split(splits: Stored[Splits], name: str) -> list[Example]:
    """The examples of `train`, `validation` or `test`."""
    return read_table(splits.path / f"{name}.parquet", Example)


def check_leaks(parts: dict[str, list[Example]]) -> dict[str, int]:
    """Raises InvalidInput if an id, a group or a text stands in two parts; returns the numbers checked."""
    checked = {}
    for what, of in (("id", lambda e: e.id), ("group", lambda e: e.group), ("text", lambda e: same_text(e.text))):
        seen: dict[str, tuple[str, Example]] = {}
        leaks = []
        for name, examples in parts.items():
            for example in examples:
                other, twin = seen.setdefault(of(example), (name, example))
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
    examples = read_table(curated.verify().path / "examples.parquet", Example)
    parts = _assign(examples, spec, seed)
    proof = {"disjoint": check_leaks(parts), "seed": seed, "rows": {n: len(p) for n, p in parts.items()}}
    for name, part in parts.items():
        missing = set(curated.record.labels) - {e.label for e in part}
        if missing:
            raise InvalidInput(f"split {name} has no row of {', '.join(sorted(missing))}: add rows or raise its share")
        write_table(folder / f"{name}.parquet", Example, part)
    (folder / "proof.json").write_text(canonical_json(proof), encoding="utf-8")
    return Splits(
        data_digest=curated.digest,
        seed=seed,
        labels=curated.record.labels,
        rows={n: dict(sorted(Counter(e.label for e in p).items())) for n, p in parts.items()},
        groups={n: len({e.group for e in p}) for n, p in parts.items()},
        license=curated.record.license,
        attribution=curated.record.attribution,
    )


def _assign(examples: list[Example], spec: SplitSpec, seed: int) -> dict[str, list[Example]]:
    groups: dict[str, list[Example]] = defaultdict(list)
    for example in examples:
        groups[example.group].append(example)
    names = sorted(groups)
    random.Random(seed).shuffle(names)  # noqa: S311 (not for secrets)
    quota = {"test": spec.test * len(examples), "validation": spec.validation * len(examples)}
    parts: dict[str, list[Example]] = {name: [] for name in NAMES}
    for name in names:
        side = next((s for s, rows in quota.items() if len(parts[s]) + len(groups[name]) / 2 <= rows), "train")
        parts[side].extend(groups[name])
    return {name: sorted(part, key=lambda e: e.line) for name, part in parts.items()}
