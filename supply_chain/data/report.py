"""The data card: a self-contained HTML page and the same facts as JSON, made from stored data on demand."""

import json
from collections import Counter
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path
from typing import Any

import jinja2
import numpy as np
import polars as pl

from supply_chain.data.examples import NAMES
from supply_chain.data.target import names_in
from supply_chain.errors import InvalidInput
from supply_chain.identity import identity
from supply_chain.records import Curated, DataCard, Splits
from supply_chain.store import Store, Stored, write_atomically

VERSION = 1
_EDGES = [0, 20, 40, 80, 160, 320, 640, 1280, 1 << 62]
_SAMPLES, _CLUSTERS, _SUSPECTS, _REJECTS = 12, 12, 25, 5
_LONGEST = 400


def data_card(curated: Stored[Curated], splits: Stored[Splits] | None = None) -> dict[str, Any]:
    """Everything the page shows, as JSON values. Rejects and flagged rows with personal data show no text.

    Raises InvalidInput when `splits` were made from other data.
    """
    if splits is not None and splits.record.data_digest != curated.digest:
        raise InvalidInput(
            f"the splits were made from {splits.record.data_digest[:12]}, not from {curated.digest[:12]}"
        )
    record = curated.record
    frame = pl.read_parquet(
        curated.path / "examples.parquet", columns=["text", "label", "file", "line", "cluster", "flags"]
    )
    rejects = pl.read_parquet(curated.path / "rejects.parquet")
    return {
        "digest": curated.digest,
        "record": record.model_dump(mode="json"),
        "rules": json.loads((curated.path / "rules.json").read_text(encoding="utf-8"))["data"]["rules"],
        "waterfall": list(_waterfall(record)),
        "labels": _labels(frame, record.task, splits),
        "lengths": _lengths(frame),
        "clusters": list(_clusters(frame)),
        "suspects": list(_suspects(frame)),
        "samples": [_shown(row) for row in _drawn(frame, _SAMPLES)],
        "rejects": {r: _drawn(rejects.filter(pl.col("reason") == r), _REJECTS) for r in sorted(record.rejects)},
        "splits": _splits(splits),
    }


def write_report(curated: Stored[Curated], splits: Stored[Splits] | None, folder: Path) -> Path:
    """Writes `data.html` and `data.json` into `folder`; returns the page's path."""
    card = data_card(curated, splits)
    write_atomically(folder / "data.json", json.dumps(card, ensure_ascii=False, indent=1))
    write_atomically(folder / "data.html", render(card))
    return folder / "data.html"


def stored_card(curated: Stored[Curated], splits: Stored[Splits], store: Store) -> Stored[DataCard]:
    """The data card of these splits, written once."""

    def make(folder: Path) -> DataCard:
        write_report(curated, splits, folder)
        return DataCard(data_digest=curated.digest, splits_digest=splits.digest)

    key = identity("data_card", VERSION, data=curated.key, splits=splits.key)
    return store.once(DataCard, key, make)


def render(card: dict[str, Any]) -> str:
    """The page: no script, no address outside, everything from the data escaped."""
    loader = jinja2.FileSystemLoader(Path(__file__).parent / "templates")
    environment = jinja2.Environment(loader=loader, autoescape=True, undefined=jinja2.StrictUndefined)
    return environment.get_template("data.html").render(card=card)


def _waterfall(record: Curated) -> Iterator[dict[str, Any]]:
    left = record.rows_read
    yield {"step": "rows read", "rows": left, "lost": 0}
    for reason, lost in sorted(record.rejects.items(), key=lambda item: (-item[1], item[0])):
        left -= lost
        yield {"step": reason, "rows": left, "lost": lost}


def _labels(frame: pl.DataFrame, task: str, splits: Stored[Splits] | None) -> list[dict[str, Any]]:
    if splits is not None:
        parts = splits.record.rows
        names = sorted({name for part in parts.values() for name in part})
        rows: list[dict[str, Any]] = [{"label": n, **{p: parts[p].get(n, 0) for p in NAMES}} for n in names]
        return [{**row, "total": sum(parts[p].get(row["label"], 0) for p in NAMES)} for row in rows]
    counts: Counter[str] = Counter()
    for label, number in frame["label"].value_counts().iter_rows():
        for name in names_in(task, label):
            counts[name] += number
    return [{"label": name, "all": number, "total": number} for name, number in sorted(counts.items())]


def _lengths(frame: pl.DataFrame) -> list[dict[str, Any]]:
    counts = np.histogram(frame["text"].str.len_chars().to_numpy(), bins=_EDGES)[0].tolist()
    names = [f"{a}–{b - 1}" for a, b in pairwise(_EDGES[:-1])] + [f"{_EDGES[-2]} or more"]
    return [{"characters": name, "rows": number} for name, number in zip(names, counts, strict=True)]


def _clusters(frame: pl.DataFrame) -> Iterator[dict[str, Any]]:
    sizes = frame.filter(pl.col("cluster") > 0).group_by("cluster").len().filter(pl.col("len") > 1)
    largest = sizes.sort(["len", "cluster"], descending=[True, False]).head(_CLUSTERS)
    for cluster, size in largest.iter_rows():
        rows = frame.filter(pl.col("cluster") == cluster).head(4).to_dicts()
        yield {"cluster": cluster, "rows": size, "examples": [_shown(row) for row in rows]}


def _suspects(frame: pl.DataFrame) -> Iterator[dict[str, Any]]:
    for row in frame.filter(pl.col("flags").str.contains("label:", literal=True)).head(_SUSPECTS).to_dicts():
        suggested = row["flags"].partition("label:")[2]
        yield {**_shown(row), "suggested": suggested}


def _shown(row: dict[str, Any]) -> dict[str, Any]:
    hidden = "pii:" in row["flags"]
    text = "(withheld: holds personal data)" if hidden else row["text"][:_LONGEST]
    label = "(withheld)" if hidden and row["label"].startswith(("{", "[")) else row["label"][:_LONGEST]
    return {"text": text, "label": label, "file": row["file"], "line": row["line"]}


def _drawn(frame: pl.DataFrame, number: int) -> list[dict[str, Any]]:
    rows = np.linspace(0, len(frame) - 1, min(number, len(frame))).round().astype(int)
    return [
        {k: v[:_LONGEST] if isinstance(v, str) else v for k, v in row.items()}
        for row in frame[rows.tolist()].to_dicts()
    ]


def _splits(splits: Stored[Splits] | None) -> dict[str, Any] | None:
    if splits is None:
        return None
    proof = json.loads((splits.path / "proof.json").read_text(encoding="utf-8"))
    return {"digest": splits.digest, "groups": splits.record.groups, "proof": proof}
