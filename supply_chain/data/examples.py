"""Examples of a split's parts, read without what a split is made with."""

from supply_chain.data.table import read_table
from supply_chain.records import Example, Splits
from supply_chain.store import Stored

NAMES = ("train", "validation", "test")
"""The parts of a split."""


def read_split(splits: Stored[Splits], name: str) -> list[Example]:
    """The examples of `train`, `validation` or `test`."""
    return read_table(splits.path / f"{name}.parquet", Example)
