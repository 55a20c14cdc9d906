"""What a version answers to an earlier test set, from its stored bytes and as it is served. Loads torch."""

from pathlib import Path
from typing import ClassVar

from pydantic import BaseModel, ConfigDict

from supply_chain.data.examples import read_split
from supply_chain.data.table import read_table, write_table
from supply_chain.identity import identity
from supply_chain.records import Artifact, Compute, Splits
from supply_chain.store import Record, Store, Stored

VERSION = 1
_FILE = "answers.parquet"


class Recalled(BaseModel):
    """The answer to one row."""

    model_config = ConfigDict(frozen=True)
    id: str
    answer: str


class Recall(Record):
    """`answers.parquet`: one version's label for every row of one test set."""

    kind: ClassVar[str] = "recall"
    model_digest: str
    splits_digest: str
    rows: int


def recall_key(model: Stored[Artifact], splits: Stored[Splits]) -> str:
    """What decides the answers: the weights with their prompt and labels, and the test rows."""
    return identity("recall", VERSION, model=model.digest, rows=splits.files["test.parquet"].sha256)


def recall(model: Stored[Artifact], splits: Stored[Splits], compute: Compute, store: Store) -> Stored[Recall]:
    """The version's likeliest label for every test row, among all labels that it knows. Raises CorruptData."""

    def make(folder: Path) -> Recall:
        from supply_chain.opening import open_artifact  # noqa: PLC0415 (torch: the key is computed without it)
        from supply_chain.prompt import Renderer  # noqa: PLC0415
        from supply_chain.scoring import label_likelihoods  # noqa: PLC0415
        from supply_chain.serving import read_serving  # noqa: PLC0415

        rows, serving = read_split(splits.verify(), "test"), read_serving(model.verify().path)
        loaded = open_artifact(model.path, compute)
        renderer = Renderer.of(serving.prompt, serving.labels, loaded.tokenizer)
        found = label_likelihoods(loaded, renderer, [row.text for row in rows])
        answers = [serving.labels[max(range(len(shares)), key=shares.__getitem__)] for shares in found]
        recalled = [Recalled(id=row.id, answer=answer) for row, answer in zip(rows, answers, strict=True)]
        write_table(folder / _FILE, Recalled, recalled)
        return Recall(model_digest=model.digest, splits_digest=splits.digest, rows=len(rows))

    return store.once(Recall, recall_key(model, splits), make)


def answers_of(stored: Stored[Recall]) -> list[str]:
    """The answers in the rows' order. Raises CorruptData."""
    return [row.answer for row in read_table(stored.verify().path / _FILE, Recalled)]
