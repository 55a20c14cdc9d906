"""What reviewers said: every decision, and the corrections that become data."""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, datetime
from itertools import combinations
from pathlib import Path

from pydantic import AwareDatetime, BaseModel, ConfigDict

from evals.estimates import Estimate
from evals.intervals import share_interval
from review import lines
from review.agreement import kappa
from review.cases import Case, Panel
from supply_chain.settings import Settings


class _Line(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class Judgement(_Line):
    """One person about one case; a later line about the same case takes its place."""

    release: str
    case: str
    who: str
    when: AwareDatetime
    label: str | None
    """What the answer should be; None: cannot tell."""
    comment: str


class Correction(_Line):
    """A text and what its label should be, said by a person; the last about a text counts.

    See `evaluate.corrections` and `train.corrections`. `case` is the test row that it is about.
    """

    text: str
    label: str
    who: str
    when: AwareDatetime
    model: str
    version: int
    case: str
    answered: str
    """The candidate's answer."""
    truth: str
    """What the data set says."""


@dataclass(frozen=True)
class Tally:
    """What one version's reviewers found."""

    decided: dict[str, int]
    """Cases by reviewer."""
    candidate_right: Estimate | None
    rival_right: Estimate | None
    agreement: dict[tuple[str, str], Estimate | None]
    comments: list[tuple[str, str, str]]
    """Reviewer, text, comment."""


class Judgements:
    """The files of one project."""

    def __init__(self, settings: Settings):
        self.path = settings.home / "review" / "judgements.jsonl"
        self.corrections = settings.root / "corrections"

    def of(self, release: str) -> dict[tuple[str, str], Judgement]:
        """The latest judgements about one version, by reviewer and case."""
        found = (line for line in lines.read(self.path, Judgement) if line.release == release)
        return {(line.who, line.case): line for line in found}

    def save(self, named: tuple[str, int], case: Case, judgement: Judgement) -> None:
        """Keeps a judgement, and as a correction what differs from the candidate's answer or the data's label."""
        lines.append(self.path, judgement)
        path, (model, version) = self.corrections_of(named[0]), named
        label = judgement.label
        if label is None:
            return
        known = any(c.case == case.id and c.who == judgement.who for c in lines.read(path, Correction))
        if known or label != case.candidate or label != case.truth:
            told = {"text": case.text, "label": label, "who": judgement.who, "when": judgement.when, "case": case.id}
            more = {"model": model, "version": version, "answered": case.candidate, "truth": case.truth}
            lines.append(path, Correction.model_validate(told | more))

    def corrections_of(self, model: str) -> Path:
        """The corrections of one model's answers, below the project, so that a recipe can read them."""
        return self.corrections / f"{model}.jsonl"


def tally(panel: Panel, judged: Iterable[Judgement]) -> Tally:
    """Counts, shares that are right (over all decided cases) and agreement of every two reviewers."""
    cases = {case.id: case for case in panel.cases}
    said = [one for one in judged if one.case in cases]
    decided: dict[str, dict[str, str]] = {}
    for one in said:
        decided.setdefault(one.who, {})[one.case] = one.label or ""
    told = [one for one in said if one.label is not None]
    rivals = [one for one in told if cases[one.case].rival is not None]
    pairs = {}
    for a, b in combinations(sorted(decided), 2):
        both = sorted(decided[a].keys() & decided[b].keys())
        pairs[a, b] = kappa([decided[a][case] for case in both], [decided[b][case] for case in both])
    return Tally(
        decided={who: len(cases) for who, cases in sorted(decided.items())},
        candidate_right=_share([cases[one.case].candidate == one.label for one in told], told),
        rival_right=_share([cases[one.case].rival == one.label for one in rivals], rivals),
        agreement=pairs,
        comments=[(one.who, cases[one.case].text, one.comment) for one in said if one.comment],
    )


def _share(hits: list[bool], said: list[Judgement]) -> Estimate | None:
    """Several people about one case are one row: their judgements depend on each other."""
    if not hits:
        return None
    low, high = share_interval(sum(hits) / len(hits), len({one.case for one in said}))
    return Estimate(mean=sum(hits) / len(hits), low=low, high=high, n=len(hits))


def now() -> datetime:
    """The time that goes into a line."""
    return datetime.now(UTC)
