"""Rules that look at all rows together. Each marks rows; the first mark is the reason of the reject."""

from collections import Counter
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path

import numpy as np
import numpy.typing as npt
import polars as pl

from supply_chain.data.contamination import contaminated
from supply_chain.data.judge import Candidate
from supply_chain.data.near import Links, near_links
from supply_chain.data.pool import Pool
from supply_chain.data.source import Located
from supply_chain.recipe.data import DataSpec
from supply_chain.recipe.rules import NearDuplicates
from supply_chain.records import Reject

REASONS = (
    "", "contaminated", "contradictory_label", "duplicate", "near_duplicate", "label_noise", "class_cap",
)  # fmt: skip
Ints = npt.NDArray[np.int64]


@dataclass
class Verdicts:
    """A reason's number for each row (0: kept), the row that explains it (-1: none) and a few words."""

    pool: Pool
    reason: npt.NDArray[np.uint8]
    other: Ints
    words: dict[int, str] = field(default_factory=dict)
    clusters: Ints = field(default_factory=lambda: np.empty(0, np.int64))
    suggested: dict[int, str] = field(default_factory=dict)

    @classmethod
    def of(cls, pool: Pool) -> "Verdicts":
        """Nothing rejected yet."""
        rows = len(pool)
        return cls(pool, np.zeros(rows, np.uint8), np.full(rows, -1, np.int64), clusters=np.zeros(rows, np.int64))

    @cached_property
    def lines(self) -> pl.Series:
        """Every row's line."""
        return self.pool.column("line")

    @cached_property
    def files(self) -> pl.Series:
        """Every row's file."""
        return self.pool.column("file")

    @property
    def kept(self) -> Ints:
        """Rows that no rule has rejected."""
        return np.flatnonzero(self.reason == 0)

    def mark(self, rows: Ints, reason: str, other: Ints | None = None) -> None:
        """Rejects `rows` that are still kept."""
        fresh = self.reason[rows] == 0
        self.reason[rows[fresh]] = REASONS.index(reason)
        if other is not None:
            self.other[rows[fresh]] = other[fresh]

    def counts(self) -> Counter[str]:
        """Rows rejected here, by reason."""
        return Counter({REASONS[r]: int(n) for r, n in enumerate(np.bincount(self.reason)) if r and n})

    def reject(self, row: int, of: Candidate, shown: str) -> Reject:
        """The reject of a marked row; `shown` is what may be shown of its text."""
        reason, other = REASONS[self.reason[row]], int(self.other[row])
        detail = self.words.get(row, "")
        if other == row:
            detail = "other rows with this text have another label"
        elif other >= 0:
            told = {"duplicate": "same as", "near_duplicate": "near duplicate of"}.get(
                reason, "labelled otherwise than"
            )
            detail = f"{told} {self._place(other, of.file)}"
        return Reject(reason=reason, detail=detail, text=shown[:500], file=of.file, line=of.line)

    def _place(self, row: int, file: str) -> str:
        other = self.files[row]
        return f"line {self.lines[row]}" + (f" of {other}" if other != file else "")


def judge_together(spec: DataSpec, source: Located, pool: Pool, scratch: Path) -> Verdicts:
    """Applies the rules in the order of `REASONS`."""
    verdicts = Verdicts.of(pool)
    for held_out in spec.rules.decontaminate:
        found = contaminated(held_out, spec.rules.near_duplicates, source, pool, scratch)
        verdicts.mark(np.array(list(found), np.int64), "contaminated")
        verdicts.words = found | verdicts.words
    _equal_texts(spec, verdicts)
    if spec.rules.near_duplicates.action != "keep":
        _near(spec.rules.near_duplicates, verdicts, scratch)
    if spec.rules.label_noise is not None:
        _noise(spec, verdicts)
    _caps(spec, verdicts)
    return verdicts


def _equal_texts(spec: DataSpec, verdicts: Verdicts) -> None:
    rows = verdicts.kept
    keys, labels = verdicts.pool.keys[rows], verdicts.pool.labels[rows]
    if spec.task == "generation":
        keys = keys ^ (labels * np.uint64(0x9E3779B97F4A7C15))
    order = np.argsort(keys, kind="stable")
    if not len(order):
        return
    rows, keys, labels = rows[order], keys[order], labels[order]
    new = np.concatenate([[True], keys[1:] != keys[:-1]])
    starts = np.flatnonzero(new)
    first = np.repeat(rows[starts], np.diff(np.append(starts, len(rows))))
    differs = np.minimum.reduceat(labels, starts) != np.maximum.reduceat(labels, starts)
    torn = np.repeat(differs, np.diff(np.append(starts, len(rows))))
    if spec.rules.contradictions == "drop":
        verdicts.mark(rows[torn], "contradictory_label", first[torn])
    if spec.rules.duplicates == "drop":
        again = ~new & ~(torn & (spec.rules.contradictions == "drop"))
        verdicts.mark(rows[again], "duplicate", first[again])


def _near(rule: NearDuplicates, verdicts: Verdicts, scratch: Path) -> None:
    rows = verdicts.kept
    links = near_links(verdicts.pool.column("text").gather(rows), rule, scratch)
    if rule.action == "drop":
        _drop_copies(links, rows, verdicts)
    verdicts.clusters[rows] = links.clusters(len(rows))


def _drop_copies(links: Links, rows: Ints, verdicts: Verdicts) -> None:
    """Drops the later row of a pair when the earlier one is kept and has the same label."""
    left, right = rows[links.left], rows[links.right]
    same = verdicts.pool.labels[left] == verdicts.pool.labels[right]
    gone: dict[int, int] = {}
    for one, other in zip(left[same].tolist(), right[same].tolist(), strict=True):
        if one not in gone and other not in gone:
            gone[other] = one
    verdicts.mark(np.array(list(gone), np.int64), "near_duplicate", np.array(list(gone.values()), np.int64))


def _noise(spec: DataSpec, verdicts: Verdicts) -> None:
    from supply_chain.data.noise import suspects  # noqa: PLC0415 (an extra)

    assert spec.rules.label_noise is not None
    rows = verdicts.kept
    texts = verdicts.pool.column("text").gather(rows).to_list()
    labels = verdicts.pool.column("label").gather(rows).to_list()
    found = suspects(texts, labels, spec.rules.label_noise)
    marked = rows[np.array([s.row for s in found], np.int64)]
    if spec.rules.label_noise.action == "drop":
        verdicts.mark(marked, "label_noise")
        verdicts.words |= {int(r): f"looks like {s.suggested}" for r, s in zip(marked, found, strict=True)}
    else:
        verdicts.suggested |= {int(r): s.suggested for r, s in zip(marked, found, strict=True)}


def _caps(spec: DataSpec, verdicts: Verdicts) -> None:
    rows = verdicts.kept
    if spec.task != "classification" or not len(rows):
        return
    labels, counts = np.unique(verdicts.pool.labels[rows], return_counts=True)
    caps = [spec.rules.max_rows_per_label, int(spec.rules.max_ratio * counts.min()) if spec.rules.max_ratio else None]
    cap = min((c for c in caps if c is not None), default=None)
    if cap is None:
        return
    for label in labels[counts > cap]:
        mine = rows[verdicts.pool.labels[rows] == label]
        surplus = np.random.default_rng(len(mine)).permutation(mine)[cap:]
        verdicts.mark(np.sort(surplus), "class_cap")
