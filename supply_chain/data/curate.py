"""Curation: every row is kept or rejected with a named reason."""

import hashlib
from collections import Counter
from collections.abc import Iterator
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from supply_chain.data.contamination import held_out_texts
from supply_chain.data.judge import Candidate, columns_of, row_judge
from supply_chain.data.pool import Pool
from supply_chain.data.rows import Row, read_rows
from supply_chain.data.source import Located
from supply_chain.data.table import TableWriter, schema_of
from supply_chain.data.target import names_in
from supply_chain.data.texts import TextRules
from supply_chain.data.whole import Verdicts, judge_together
from supply_chain.errors import InvalidInput
from supply_chain.identity import canonical_json, identity
from supply_chain.recipe.data import DataSpec
from supply_chain.records import Curated, Example, Reject
from supply_chain.store import Store, Stored

VERSION = 3
_BATCH = 1000


def curate(spec: DataSpec, source: Located, store: Store) -> Stored[Curated]:
    """Reads, checks and stores a recipe's examples; memory stays at some 100 bytes a row.

    Raises InvalidInput when columns are missing or a label keeps fewer rows than
    `rules.min_rows_per_label`; then nothing is stored.
    """
    rules = spec.model_dump(mode="json", exclude={"split": {"validation", "test", "stratify"}, "source": True})
    held_out = {h.name: held_out_texts(h, source)[2] for h in spec.rules.decontaminate}
    tools = TextRules.versions(spec)
    key = identity("curated", VERSION, data=rules, source=source.version, held_out=held_out, tools=tools)
    made_by = {"version": VERSION, "data": rules, "held_out": held_out, "tools": tools}
    return store.once(Curated, key, lambda folder: _curate(spec, source, folder, made_by))


def _curate(spec: DataSpec, source: Located, folder: Path, made_by: dict[str, Any]) -> Curated:
    pool, texts = Pool(folder / "pool.arrow", fold_labels=spec.task == "extraction"), TextRules(spec)
    reasons: Counter[str] = Counter()
    with TableWriter(folder / "rejects.parquet", Reject) as rejects:
        for batch in _judged(spec, source, texts):
            pool.add([item for item in batch if isinstance(item, Candidate)])
            for reject in [item for item in batch if isinstance(item, Reject)]:
                rejects.add(reject)
                reasons[reject.reason] += 1
        pool.close()
        verdicts = judge_together(spec, source, pool, folder)
        digest = hashlib.sha256(canonical_json(made_by).encode())
        labels = _write(spec, verdicts, folder, rejects, digest)
    reasons += verdicts.counts()
    _check_labels(labels, len(verdicts.kept), spec, source, reasons)
    pool.path.unlink()
    (folder / "rules.json").write_text(canonical_json(made_by), encoding="utf-8")
    clusters = verdicts.clusters[verdicts.kept]
    _, sizes = np.unique(clusters[clusters > 0], return_counts=True)
    flagged = {**({"label": len(verdicts.suggested)} if verdicts.suggested else {}), **texts.flagged}
    return Curated(
        source=source.name,
        source_sha256=source.version,
        license=spec.license,
        attribution=spec.attribution,
        rows_read=len(pool) + sum(n for r, n in reasons.items()) - int((verdicts.reason > 0).sum()),
        rows_kept=len(verdicts.kept),
        rejects=dict(sorted(reasons.items())),
        labels=sorted(labels),
        task=spec.task,
        sensitivity=spec.sensitivity,
        zone=spec.zone,
        fingerprint=digest.hexdigest(),
        clusters=int((sizes > 1).sum()),
        flagged=flagged,
        pii=dict(sorted(texts.pii.items())),
    )


def _judged(spec: DataSpec, source: Located, texts: TextRules) -> Iterator[list[Candidate | Reject]]:
    judge = row_judge(spec)
    withheld = spec.rules.pii is not None
    rows = read_rows(source, spec.format, columns_of(spec))
    while batch := list(islice(rows, _BATCH)):
        items = [judge(row) if isinstance(row, Row) else _withheld(row) if withheld else row for row in batch]
        yield texts.judge(items) if texts.any else items


def _withheld(reject: Reject) -> Reject:
    return reject.model_copy(update={"text": ""})


def _write(spec: DataSpec, verdicts: Verdicts, folder: Path, rejects: TableWriter, digest: Any) -> Counter[str]:
    """Writes what was kept and rejected; returns how many kept rows hold each label."""
    labels: Counter[str] = Counter()
    several = verdicts.pool.column("file").n_unique() > 1 if len(verdicts.pool) else False
    hidden = spec.rules.pii is not None and spec.rules.pii.action in {"flag", "drop"}
    with TableWriter(folder / "examples.parquet", Example) as examples:
        for start, table in verdicts.pool.batches():
            marks = verdicts.reason[start : start + len(table)]
            out = np.flatnonzero(marks)
            for row, item in zip((start + out).tolist(), table.take(out).to_pylist(), strict=True):
                rejects.add(verdicts.reject(row, Candidate(**item), "" if hidden else item["text"]))
            rows = np.flatnonzero(marks == 0)
            kept = _with_marks(table.take(rows), verdicts, start + rows, several)
            both = zip(kept["text"].to_pylist(), kept["label"].to_pylist(), strict=True)
            digest.update("".join([f"{text}\x1f{label}\x1e" for text, label in both]).encode())
            for entry in kept["label"].value_counts().to_pylist():
                for name in names_in(spec.task, entry["values"]):
                    labels[name] += entry["counts"]
            examples.add_table(kept)
    return labels


def _with_marks(table: pa.Table, verdicts: Verdicts, rows: Any, several: bool) -> pa.Table:
    ids = [str(n) for n in table["line"].to_pylist()]
    if several:
        ids = [f"{file}:{n}" for file, n in zip(table["file"].to_pylist(), ids, strict=True)]
    flags = table["flags"].to_pylist()
    if verdicts.suggested:
        label = [verdicts.suggested.get(r) for r in rows.tolist()]
        flags = [" ".join(filter(None, (f, s and f"label:{s}"))) for f, s in zip(flags, label, strict=True)]
    columns = {n: table[n] for n in ("text", "label", "group", "file", "line", "time", "meta")}
    columns |= {
        "id": pa.array(ids),
        "flags": pa.array(flags, pa.string()),
        "cluster": pa.array(verdicts.clusters[rows]),
    }
    return pa.table({f.name: columns[f.name] for f in schema_of(Example)}).cast(schema_of(Example))


def _check_labels(counts: Counter[str], rows: int, spec: DataSpec, source: Located, reasons: Counter[str]) -> None:
    least, rejected_for = spec.rules.min_rows_per_label, ", ".join(f"{r} {n}" for r, n in reasons.items()) or "none"
    if spec.task in {"extraction", "generation"}:
        if rows < least:
            raise InvalidInput(f"{source.name}: {rows} rows are kept, needed: {least}. Rejected: {rejected_for}.")
        return
    expected = spec.label.names or ([b.label for b in spec.label.bins] if spec.label.bins else list(counts))
    few = {label: counts[label] for label in expected if counts[label] < least}
    if few or len(counts) < 2:
        shown = ", ".join(f"{label} {n}" for label, n in few.items()) or f"{len(counts)} labels in all"
        raise InvalidInput(
            f"{source.name}: too few rows to learn from ({shown}; needed: 2 labels with "
            f"{least} rows each). Rejected: {rejected_for}. Add rows or lower data.rules."
        )
