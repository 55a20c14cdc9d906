"""Counts leaks anew, from the bytes of stored splits: evidence that does not rest on the code that made them."""

import polars as pl

from supply_chain.data.examples import NAMES
from supply_chain.data.same import same_text
from supply_chain.records import Splits
from supply_chain.store import Stored

_COLUMNS = ("id", "group", "text", "cluster")


def leaks(splits: Stored[Splits]) -> dict[str, int]:
    """How many ids, groups, texts (case and white space folded) and near-duplicate clusters stand in two splits."""
    parts = [
        pl.read_parquet(splits.path / f"{name}.parquet", columns=list(_COLUMNS)).with_columns(side=pl.lit(number))
        for number, name in enumerate(NAMES)
    ]
    frame = pl.concat(parts).with_columns(pl.Series("text", map(same_text, pl.concat(parts)["text"]), pl.String))
    return {
        name: _shared(frame.filter(pl.col("cluster") > 0) if name == "cluster" else frame, name) for name in _COLUMNS
    }


def _shared(frame: pl.DataFrame, name: str) -> int:
    sides = frame.group_by(name).agg(pl.col("side").n_unique())
    return sides.filter(pl.col("side") > 1).height
