"""What a new version takes over from the champion: its line, its labels, a replay of earlier rows, corrections.

All of it is settled in the splits, before training: so trainer, calibration, quantization, baselines and
evaluation see the same rows and labels, and one digest stands for them.
"""

import json
import random
import shutil
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

from supply_chain.data.corrections import Correction, Corrections, read_corrections
from supply_chain.data.examples import read_split
from supply_chain.data.same import same_text
from supply_chain.data.table import write_table
from supply_chain.errors import InvalidInput
from supply_chain.identity import canonical_json, identity
from supply_chain.mending import fresh, scrubbed
from supply_chain.recipe.continual import Continual
from supply_chain.recipe.data import DataSpec
from supply_chain.records import Artifact, Example, Splits, Succession, Trained
from supply_chain.store import Record, Store, Stored

VERSION = 2
CORRECTED = "corrected"
"""The flag of a row that an expert corrected."""
_HELD_OUT = ("validation", "test")
R = TypeVar("R", bound=Record)


@dataclass(frozen=True)
class Ancestor:
    """A released version: what training made, and from which rows."""

    artifact: Stored[Artifact]
    trained: Stored[Trained]
    splits: Stored[Splits]


def line_of(champion: Stored[Artifact], store: Store) -> Iterator[Ancestor]:
    """The champion, the one that it went on from, and so on. Raises InvalidInput when one is gone."""
    yield from _line(champion, _learned(champion, store), store)


def predecessors(splits: Stored[Splits], store: Store) -> Iterator[Ancestor]:
    """The versions that training on these splits goes on from, newest first; none if it starts from the base."""
    before = splits.record.succession
    if before and before.champion and before.trained:
        yield from _line(_found(Artifact, before.champion, store), _found(Trained, before.trained, store), store)


def _line(artifact: Stored[Artifact], trained: Stored[Trained], store: Store) -> Iterator[Ancestor]:
    splits = _found(Splits, trained.record.splits_digest, store)
    yield Ancestor(artifact, trained, splits)
    yield from predecessors(splits, store)


def parent_of(
    champion: Stored[Artifact], splits: Stored[Splits], corrections: Stored[Corrections] | None, store: Store
) -> Stored[Artifact] | None:
    """From whom training on these data goes on: the champion, or the one before it if it learned from them already.

    So an unchanged recipe finds its result again, also once that is the champion.
    """
    own = next(line_of(champion, store)).splits
    learned = own.record.succession or Succession(of=own.digest)
    if (learned.of, learned.corrections) != (splits.digest, corrections.digest if corrections else None):
        return champion
    return next((ancestor.artifact for ancestor in predecessors(own, store)), None)


def succeed(
    splits: Stored[Splits],
    champion: Stored[Artifact] | None,
    continual: Continual | None,
    corrections: Stored[Corrections] | None,
    data: DataSpec,
    seed: int,
    store: Store,
) -> Stored[Splits]:
    """The splits with corrections and, going on from a champion, its labels and a seeded replay in the train rows.

    Raises InvalidInput for corrections with an unknown label, and for a row held out now that was trained on before.
    """
    if champion is None and corrections is None:
        return splits
    key = identity(
        "succession",
        VERSION,
        splits=splits.digest,
        champion=champion.digest if champion else None,
        replay=continual.replay if continual and champion else 0.0,
        corrections=corrections.digest if corrections else None,
        rules=data.rules.model_dump(mode="json", include={"pii", "near_duplicates"}) if corrections else None,
        seed=seed,
    )

    def make(folder: Path) -> Splits:
        ancestors = list(line_of(champion, store)) if champion else []
        labels = set(splits.verify().record.labels)
        if champion is not None:
            labels |= set(champion.record.labels)
        held = {same_text(row.text): row for name in _HELD_OUT for row in read_split(splits, name)}
        told = _latest(corrections, labels, data) if corrections else {}
        mended = fresh(told.values(), [row.text for row in held.values()], data)
        train = [row for row in read_split(splits, "train") if same_text(row.text) not in told]
        train += [_example(row) for row in mended]
        replayed: list[Example] = []
        if continual is not None:
            pool = _pool(ancestors, train, held)
            number = min(len(pool), round(len(train) * continual.replay / (1 - continual.replay)))
            replayed = random.Random(seed).sample(pool, number)  # noqa: S311 (not for secrets)
        succession = Succession(
            of=splits.digest,
            champion=champion.digest if champion else None,
            trained=ancestors[0].trained.digest if ancestors else None,
            corrections=corrections.digest if corrections else None,
            replayed=len(replayed),
            corrected=len(mended),
            held_out=len(told) - len(mended),
        )
        return _write(splits, [*train, *replayed], sorted(labels), succession, folder)

    return store.once(Splits, key, make)


def _latest(corrections: Stored[Corrections], labels: set[str], data: DataSpec) -> dict[str, Correction]:
    """The last correction of each text, by the folded text without personal data."""
    rows = read_corrections(corrections)
    odd = [f"line {row.line}: {row.label!r}" for row in rows if row.label not in labels]
    if odd:
        more = f" and {len(odd) - 10} more" if len(odd) > 10 else ""
        raise InvalidInput(
            f"train.corrections: {corrections.record.source} has labels that the data have not: {', '.join(odd[:10])}"
            f"{more}; the labels are {', '.join(sorted(labels)[:30])}"
        )
    return {same_text(row.text): row for row in scrubbed(rows, data)}


def _example(row: Correction) -> Example:
    number = f"correction:{row.line}"
    return Example(id=number, text=row.text, label=row.label, group=number, file=row.file, line=row.line,
                   flags=CORRECTED)  # fmt: skip


def _pool(ancestors: list[Ancestor], train: Iterable[Example], held: dict[str, Example]) -> list[Example]:
    """Earlier train rows that may be replayed, newest version first; none stands in today's rows or in any test."""
    earlier: dict[str, Example] = {}
    tested: set[str] = set(held)
    for ancestor in ancestors:
        mark = ancestor.splits.digest[:8]
        tested |= {same_text(row.text) for name in _HELD_OUT for row in read_split(ancestor.splits.verify(), name)}
        for row in read_split(ancestor.splits, "train"):
            moved = {"id": f"{mark}:{row.id}", "group": f"{mark}:{row.group}", "cluster": 0}
            earlier.setdefault(same_text(row.text), row.model_copy(update=moved))
    leaks = [f"line {held[text].line}" for text in held if text in earlier]
    if leaks:
        shown = ", ".join(leaks[:5]) + (f" and {len(leaks) - 5} more" if len(leaks) > 5 else "")
        raise InvalidInput(
            f"leak: rows held out now were trained on by a champion before ({shown}), and its weights remember them. "
            "Set data.split.time, so that the newest rows test, give the new rows alone as data.source, or take "
            "train.continual out"
        )
    today = {same_text(row.text) for row in train}
    return [row for text, row in earlier.items() if text not in today and text not in tested]


def _write(
    splits: Stored[Splits], train: list[Example], labels: list[str], succession: Succession, folder: Path
) -> Splits:
    write_table(folder / "train.parquet", Example, train)
    for name in _HELD_OUT:
        shutil.copyfile(splits.path / f"{name}.parquet", folder / f"{name}.parquet")
    proof = json.loads((splits.path / "proof.json").read_text(encoding="utf-8"))
    proof["rows"]["train"] = len(train)
    proof["succession"] = succession
    (folder / "proof.json").write_text(canonical_json(proof), encoding="utf-8")
    counts = {label: sum(row.label == label for row in train) for label in labels}
    record = splits.record
    return record.model_copy(
        update={
            "labels": labels,
            "rows": {**record.rows, "train": {label: number for label, number in counts.items() if number}},
            "groups": {**record.groups, "train": len({row.group for row in train})},
            "succession": succession,
        }
    )


def _learned(artifact: Stored[Artifact], store: Store) -> Stored[Trained]:
    made_from = artifact.record.made_from
    while (trained := store.of_digest(Trained, made_from)) is None:
        made_from = _found(Artifact, made_from, store).record.made_from
    return trained


def _found(kind: type[R], digest: str, store: Store) -> Stored[R]:
    stored = store.of_digest(kind, digest)
    if stored is None:
        raise InvalidInput(
            f"train.continual: the {kind.kind} {digest[:12]} of an earlier champion is not in the store: restore the "
            "store, or take train.continual out for one training from the base"
        )
    return stored
