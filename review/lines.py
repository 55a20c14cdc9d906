"""Append-only files of one JSON object a line. A line counts once it is written and synced."""

import os
from collections.abc import Iterator
from pathlib import Path
from typing import TypeVar

from filelock import FileLock
from pydantic import BaseModel, ValidationError

from supply_chain.errors import CorruptData
from supply_chain.identity import canonical_json
from supply_chain.store import sync

M = TypeVar("M", bound=BaseModel)


def append(path: Path, record: BaseModel) -> None:
    """Writes one line after the last whole one; a part of a line, left by a kill, goes."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with FileLock(path.with_name(f".{path.name}.lock")), path.open("a+b") as file:
        file.seek(0)
        data = file.read()
        file.truncate(data.rfind(b"\n") + 1)
        file.write(canonical_json(record).encode() + b"\n")
        file.flush()
        os.fsync(file.fileno())
    sync(path.parent)


def read(path: Path, model: type[M]) -> Iterator[M]:
    """Every whole line, oldest first. Raises CorruptData that names the first that cannot be read."""
    if not path.exists():
        return
    for number, line in enumerate(path.read_bytes().split(b"\n")[:-1], 1):
        try:
            yield model.model_validate_json(line)
        except ValidationError as error:
            raise CorruptData(f"{path} line {number} cannot be read: {error.errors()[0]['msg']}; mend it") from None
