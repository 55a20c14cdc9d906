"""The forgetting matrix: the accuracy of every version on the test sets of those before it.

Average forgetting after Chaudhry et al. 2018 (arXiv:1801.10112), section 3: the best accuracy that an earlier
version reached on a test set minus the candidate's, averaged over the test sets.
"""

from collections.abc import Callable
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from evals.estimate import Bench
from evals.estimates import Estimate
from evals.intervals import paired_interval
from evals.recall import Recall, answers_of
from evals.records import Forgetting, OldTest
from supply_chain.data.examples import read_split
from supply_chain.data.same import same_text
from supply_chain.errors import InvalidInput
from supply_chain.identity import canonical_json, identity
from supply_chain.records import Artifact, Example, Splits
from supply_chain.store import Store, Stored
from supply_chain.succession import Ancestor, line_of

VERSION = 1
RESAMPLES = 2000
Recalls = Callable[[Stored[Artifact], Stored[Splits]], Stored[Recall]]
_TAIL, _TEST, _CANDIDATE = 0.025, "test.parquet", "candidate"


def remembered(
    champions: dict[int, Stored[Artifact] | None],
    candidate: Stored[Artifact],
    splits: Stored[Splits],
    recalls: Recalls,
    seed: int,
    store: Store,
) -> Stored[Forgetting]:
    """The matrix of the champions so far (by version, oldest first; None: its bytes are gone) and the candidate.

    `recalls` finds or makes a version's answers to a test set. A test set counts from the first version on
    that was judged by it; today's own is left to the other checks.
    """
    line = {version: _ancestor(champion, store) for version, champion in champions.items()}
    gone = [version for version, ancestor in line.items() if ancestor is None]
    known = {version: ancestor for version, ancestor in line.items() if ancestor}
    asked = _asked(known, candidate, splits, recalls)
    key = identity(
        "forgetting",
        VERSION,
        candidate=candidate.digest,
        splits=splits.digest,
        trained={version: ancestor.splits.digest for version, ancestor in known.items()},
        gone=gone,
        answers={first: {name: one.digest for name, one in row.items()} for first, row in asked.items()},
        seed=seed,
    )

    def make(folder: Path) -> Forgetting:
        learned = (*(ancestor.splits for ancestor in known.values()), splits)
        trained = {same_text(row.text) for one in learned for row in read_split(one.verify(), "train")}
        kept = {
            first: _Test(read_split(known[first].splits, "test"), trained, row, seed) for first, row in asked.items()
        }
        record = Forgetting(
            tests=[test.record(first) for first, test in kept.items()],
            gone=gone,
            average=_average([test for test in kept.values() if test.measured], seed),
        )
        (folder / "forgetting.json").write_text(canonical_json(record), encoding="utf-8")
        return record

    return store.once(Forgetting, key, make)


def _asked(
    known: dict[int, Ancestor], candidate: Stored[Artifact], splits: Stored[Splits], recalls: Recalls
) -> dict[int, dict[str, Stored[Recall]]]:
    """Answers to each test set, by the first version that was judged by it, of that version and all later ones."""
    tests, order = {splits.files[_TEST].sha256: 0}, list(known)
    for version, ancestor in known.items():
        tests.setdefault(ancestor.splits.files[_TEST].sha256, version)
    found = {}
    for first in filter(None, tests.values()):
        models = {str(version): known[version].artifact for version in order[order.index(first) :]}
        found[first] = {
            name: recalls(model, known[first].splits) for name, model in {**models, _CANDIDATE: candidate}.items()
        }
    return found


class _Test:
    """One test set without the rows that some version was trained on; `right` is [versions, rows]."""

    def __init__(self, rows: list[Example], trained: set[str], asked: dict[str, Stored[Recall]], seed: int):
        fresh = [i for i, row in enumerate(rows) if same_text(row.text) not in trained]
        self.rows, self.left_out, self.seed = [rows[i] for i in fresh], len(rows) - len(fresh), seed
        answers = [answers_of(recall) for recall in asked.values()]
        self.names, self.right = list(asked), np.array([[said[i] == rows[i].label for i in fresh] for said in answers])
        self.groups = [row.group for row in self.rows]
        self.measured = len(set(self.groups)) > 1

    def record(self, first: int) -> OldTest:
        found: dict[str, Estimate] = {}
        if self.measured:
            bench = Bench([row.label for row in self.rows], self.groups, [], RESAMPLES, self.seed)
            found = {name: bench.share(right) for name, right in zip(self.names, self.right, strict=True)}
        return OldTest(first=first, rows=len(self.rows), left_out=self.left_out, accuracy=found)

    def forgotten(self) -> float:
        """Best earlier accuracy minus the candidate's."""
        means = self.right.mean(axis=1)
        return float(means[:-1].max() - means[-1])

    def half_width(self) -> float:
        """Of the paired interval between the best earlier version and the candidate: never nought."""
        best, last = self.right[self.right[:-1].mean(axis=1).argmax()], self.right[-1]
        low, high = paired_interval(float((best & ~last).sum()), float((last & ~best).sum()), float(len(last)))
        return (high - low) / 2

    def draws(self, rng: np.random.Generator) -> NDArray[np.float64]:
        """`forgotten` for draws of whole groups, [resamples]."""
        group = np.unique(self.groups, return_inverse=True)[1]
        size = int(group.max()) + 1
        sums = np.zeros((size, len(self.right) + 1))
        np.add.at(sums, group, np.column_stack([self.right.T, np.ones(len(group))]))
        totals = rng.multinomial(size, np.full(size, 1 / size), RESAMPLES) @ sums
        shares = totals[:, :-1] / totals[:, -1:]
        return np.asarray(shares[:, :-1].max(axis=1) - shares[:, -1])


def _average(tests: list[_Test], seed: int) -> Estimate | None:
    """Mean over the test sets, with a bootstrap interval that is no narrower than the paired ones allow."""
    if not tests:
        return None
    rng = np.random.default_rng(seed)
    mean = float(np.mean([test.forgotten() for test in tests]))
    low, high = np.quantile(np.mean([test.draws(rng) for test in tests], axis=0), [_TAIL, 1 - _TAIL])
    half = float(np.sqrt(sum(test.half_width() ** 2 for test in tests))) / len(tests)
    rows = sum(len(test.rows) for test in tests)
    return Estimate(mean=mean, low=min(float(low), mean - half), high=max(float(high), mean + half), n=rows)


def _ancestor(champion: Stored[Artifact] | None, store: Store) -> Ancestor | None:
    """A version with its rows, or None when the store does not hold them any more."""
    try:
        return next(line_of(champion, store)) if champion else None
    except InvalidInput:
        return None
