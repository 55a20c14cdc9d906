"""What experts have mended stays mended: every corrected text is asked again, of each new candidate and the champion.

Corrections may be trained on, so this says whether they are remembered, not how good the model is elsewhere; the
rows that stand in the train split are counted.
"""

from collections.abc import Callable
from pathlib import Path

from pydantic import BaseModel, ConfigDict

from evals.records import Mended, Missed
from supply_chain.data.corrections import Corrections, read_corrections
from supply_chain.data.examples import read_split
from supply_chain.data.same import same_text
from supply_chain.data.table import read_table, write_table
from supply_chain.errors import EvidenceMismatch
from supply_chain.records import Predictions, Splits
from supply_chain.store import Stored

FILE = "corrections.parquet"
_SHOWN = 20


class _Asked(BaseModel):
    """A corrected text's line, what the expert said, and the answer."""

    model_config = ConfigDict(frozen=True)
    line: int
    text: str
    label: str
    who: str
    trained: int
    answer: str


def ask_again(
    folder: Path, corrections: Stored[Corrections], splits: Stored[Splits], ask: Callable[[list[str]], list[str]]
) -> None:
    """Writes the answers to all corrected texts; the last line about a text counts."""
    last = {same_text(one.text): one for one in read_corrections(corrections)}
    trained = {same_text(row.text) for row in read_split(splits, "train")}
    answers = ask([one.text for one in last.values()]) if last else []
    rows = [
        _Asked(line=one.line, text=one.text, label=one.label, who=one.who, trained=int(folded in trained), answer=said)
        for (folded, one), said in zip(last.items(), answers, strict=True)
    ]
    rows.sort(key=lambda row: row.line)
    write_table(folder / FILE, _Asked, rows)


def mended(candidate: Stored[Predictions], champion: Stored[Predictions] | None) -> Mended:
    """How many corrections the candidate answers as the experts do, and how many the champion.

    Raises EvidenceMismatch when the candidate was not asked.
    """
    rows = _rows(candidate)
    if rows is None:
        raise EvidenceMismatch(f"{candidate.record.contestant} was not asked the experts' corrections: evaluate again")
    earlier = _rows(champion) if champion else None
    before = {row.line: row for row in earlier or []}
    lost = [row for row in rows if row.line in before and row.answer != row.label == before[row.line].answer]
    missed = [row for row in rows if row.answer != row.label]
    shown = [*lost, *(row for row in missed if row not in lost)][:_SHOWN]
    return Mended(
        rows=len(rows),
        right=len(rows) - len(missed),
        trained=sum(row.trained for row in rows),
        champion_right=sum(row.answer == row.label for row in before.values()) if before else None,
        lost=len(lost),
        missed=[Missed(line=row.line, text=row.text, truth=row.label, answer=row.answer, who=row.who) for row in shown],
    )


def _rows(stored: Stored[Predictions]) -> list[_Asked] | None:
    return None if FILE not in stored.files else read_table(stored.path / FILE, _Asked)
