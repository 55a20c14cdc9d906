"""What reviewers look at: a sample of a candidate's stored answers, beside the champion's, without names."""

import random
from collections.abc import Sequence
from dataclasses import dataclass
from hashlib import sha256

from evals.kpi import pricing
from evals.predictions import read_predictions
from evals.records import Prediction, Scorecard
from registry.versions import Release
from supply_chain.data.examples import read_split
from supply_chain.errors import EvidenceMismatch
from supply_chain.records import Predictions, Splits
from supply_chain.store import Store

CASES = 30


@dataclass(frozen=True)
class Case:
    """One test row. `rival` is the champion's answer, or None where nobody serves yet."""

    id: str
    text: str
    truth: str
    candidate: str
    rival: str | None
    why: str
    """Why it was chosen; reviewers are not told."""

    def answers(self, release: str, who: str) -> list[str]:
        """The different answers, in an order that only the server knows."""
        if self.rival is None or self.rival == self.candidate:
            return [self.candidate]
        swapped = sha256(f"{release} {self.id} {who}".encode()).digest()[0] & 1
        return [self.rival, self.candidate] if swapped else [self.candidate, self.rival]


@dataclass(frozen=True)
class Panel:
    """The cases of one version."""

    release: str
    task: str
    labels: list[str]
    cases: list[Case]


def panel_of(release: Release, store: Store, count: int = CASES) -> Panel:
    """Half disagreements with the champion, a quarter costly mistakes, the rest the least confident answers.

    The same release gives the same cases. Raises EvidenceMismatch when what was scored is gone.
    """
    claims = release.claims()
    found = store.find(Scorecard, claims.scorecard.key)
    if found is None or found.digest != claims.scorecard.digest:
        raise EvidenceMismatch(f"{release.name} version {release.version}: its scorecard is not in the store")
    card = found.record
    splits = next((s for s in store.all(Splits) if s.digest == card.splits_digest), None)
    if splits is None:
        raise EvidenceMismatch(f"{release.name} version {release.version}: its test rows are not in the store")
    texts = {row.id: row.text for row in read_split(splits, "test")}
    ours = _answers(card, card.candidate, store)
    rival = {p.id: p.answer for p in _answers(card, "champion", store)} if card.contestant("champion") else {}
    chosen = _choose(card, ours, rival, count, release.tags["release"])
    cases = [Case(p.id, texts[p.id], p.label, p.answer, rival.get(p.id), why) for p, why in chosen]
    return Panel(release.tags["release"], card.task, card.labels, cases)


def _choose(
    card: Scorecard, ours: Sequence[Prediction], rival: dict[str, str], count: int, seed: str
) -> list[tuple[Prediction, str]]:
    rng = random.Random(seed)  # noqa: S311 (not for secrets)
    price = pricing(card.task, card.kpis, card.labels)
    differ = [p for p in ours if rival.get(p.id, p.answer) != p.answer]
    costly = sorted((p for p in ours if price(p.label, p.answer) > 0), key=lambda p: (-price(p.label, p.answer), p.id))
    unsure = sorted(ours, key=lambda p: (p.confidence, p.id))
    chosen: dict[str, tuple[Prediction, str]] = {}
    for rows, why, upto in (
        (rng.sample(differ, len(differ)), "disagreement", count // 2),
        (costly, "costly", count - count // 4),
        (unsure, "low confidence", count),
    ):
        for p in rows:
            if len(chosen) >= upto:
                break
            chosen.setdefault(p.id, (p, why))
    mixed = [chosen[key] for key in sorted(chosen)]
    rng.shuffle(mixed)
    return mixed


def _answers(card: Scorecard, name: str, store: Store) -> list[Prediction]:
    contestant = card.contestant(name)
    found = store.find(Predictions, contestant.predictions_key) if contestant else None
    if contestant is None or found is None or found.digest != contestant.predictions_digest:
        raise EvidenceMismatch(f"the answers that {name} was scored on are not in the store; run the recipe again")
    return read_predictions(found)
