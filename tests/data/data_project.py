"""A project folder with a store, and curation in one call."""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from supply_chain.data.curate import curate
from supply_chain.data.source import locate
from supply_chain.data.split import split
from supply_chain.data.table import read_table
from supply_chain.recipe.data import DataSpec
from supply_chain.records import Curated, Example, Reject, Splits
from supply_chain.store import Store, Stored

WORDS = "amber basil cedar delta ember fjord grove heron indigo juniper koala lotus maple nectar olive poppy".split()


def sentence(number: int) -> str:
    """A text that shares few words with any other."""
    digits = [(number * 7 + k * (number // 16 + 3) * 5) % len(WORDS) for k in range(6)]
    return " ".join(f"{WORDS[d]}{number}{k}" for k, d in enumerate(digits))


@dataclass
class Project:
    root: Path

    def write(self, name: str, rows: list[dict[str, Any]]) -> str:
        path = self.root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("".join(json.dumps(r) + "\n" for r in rows), encoding="utf-8")
        return name

    def spec(self, source: str | dict[str, Any], **parts: Any) -> DataSpec:
        source = {"kind": "path", "path": source} if isinstance(source, str) else source
        return DataSpec.model_validate({"source": source, "license": "MIT", **parts})

    def curate(self, source: str | dict[str, Any], **parts: Any) -> Stored[Curated]:
        spec = self.spec(source, **parts)
        return curate(spec, locate(spec.source, self.root / "downloads", self.root), Store(self.root / "store"))

    def split(self, made: Stored[Curated], seed: int = 17, **parts: Any) -> Stored[Splits]:
        spec = self.spec("x.jsonl", split=parts).split
        return split(made, spec, seed, Store(self.root / "store"))


def kept(made: Stored[Curated]) -> list[Example]:
    return read_table(made.path / "examples.parquet", Example)


def rejected(made: Stored[Curated]) -> list[Reject]:
    return read_table(made.path / "rejects.parquet", Reject)
