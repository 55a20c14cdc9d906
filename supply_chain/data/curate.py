"""Curation: every row is kept or rejected with a named reason."""

import re
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator
from pathlib import Path

from supply_chain.data.rows import Row, read_rows
from supply_chain.data.source import Located
from supply_chain.data.table import write_table
from supply_chain.errors import InvalidInput
from supply_chain.identity import identity
from supply_chain.recipe.data import DataSpec, LabelSpec, Rules
from supply_chain.records import Curated, Example, Reject
from supply_chain.store import Store, Stored

VERSION = 1
_SPACE = re.compile(r"\s+")


def curate(spec: DataSpec, source: Located, store: Store) -> Stored[Curated]:
    """Reads, checks and stores a recipe's examples.

    Raises InvalidInput when columns are missing or a label keeps fewer rows than
    `rules.min_rows_per_label`; then nothing is stored.
    """
    part = spec.model_dump(mode="json", exclude={"split", "source"})
    key = identity("curated", VERSION, data=part, source=source.version)
    return store.once(Curated, key, lambda folder: _curate(spec, source, folder))


def same_text(text: str) -> str:
    """The form under which two texts count as the same: case and white space folded."""
    return _SPACE.sub(" ", text).strip().casefold()


def _curate(spec: DataSpec, source: Located, folder: Path) -> Curated:
    rejects: list[Reject] = []
    kept = _keep(_unique(_examples(spec, source), spec.rules), rejects)
    _check_labels(kept, spec, source, rejects)
    write_table(folder / "examples.parquet", Example, kept)
    write_table(folder / "rejects.parquet", Reject, rejects)
    return Curated(
        source=source.name,
        source_sha256=source.version,
        license=spec.license,
        attribution=spec.attribution,
        rows_read=len(kept) + len(rejects),
        rows_kept=len(kept),
        rejects=dict(Counter(r.reason for r in rejects)),
        labels=sorted({e.label for e in kept}),
    )


def _keep(items: Iterable[Example | Reject], rejects: list[Reject]) -> list[Example]:
    kept = []
    for item in items:
        if isinstance(item, Reject):
            rejects.append(item)
        else:
            kept.append(item)
    return kept


def _examples(spec: DataSpec, source: Located) -> Iterator[Example | Reject]:
    columns = [spec.text, spec.label.column, *([spec.group.column] if spec.group else [])]
    for row in read_rows(source, spec.format, columns):
        yield row if isinstance(row, Reject) else _example(spec, source, row)


def _example(spec: DataSpec, source: Located, row: Row) -> Example | Reject:
    text, reason = row.values.get(spec.text), None
    label = _label(spec.label, row.values.get(spec.label.column))
    group = _group(spec, row)
    if not isinstance(text, str):
        reason, text = "not_text", str(text)
    text = text.strip()
    if reason is None and "\x00" in text:
        reason = "nul_byte"
    elif reason is None and len(text) < spec.rules.min_chars:
        reason = "too_short"
    elif reason is None and len(text) > spec.rules.max_chars:
        reason = "too_long"
    elif label is None:
        reason = "unknown_label"
    elif group is None:
        reason = "no_group"
    if reason or label is None or group is None:
        detail = f"label {row.values.get(spec.label.column)!r}, {len(text)} characters"
        return Reject(reason=reason or "schema", detail=detail[:300], text=text[:500], file=source.name, line=row.line)
    return Example(id=f"{row.line}", text=text, label=label, group=group, file=source.name, line=row.line)


def _label(spec: LabelSpec, value: object) -> str | None:
    if value is None or isinstance(value, dict | list):
        return None
    if spec.bins:
        try:
            number = float(str(value))
        except ValueError:
            return None
        return next((b.label for b in spec.bins if b.fits(number)), None)
    label = spec.map.get(str(value)) if spec.map else str(value).strip()
    return label if label and (spec.names is None or label in spec.names) else None


def _group(spec: DataSpec, row: Row) -> str | None:
    if spec.group is None:
        return f"row-{row.line}"
    value = str(row.values.get(spec.group.column, ""))
    if spec.group.pattern is None:
        return value or None
    match = re.search(spec.group.pattern, value)
    return match.group(1) if match else None


def _unique(items: Iterable[Example | Reject], rules: Rules) -> Iterator[Example | Reject]:
    same: dict[str, list[Example]] = defaultdict(list)
    for item in items:
        if isinstance(item, Reject):
            yield item
        else:
            same[same_text(item.text)].append(item)
    for twins in same.values():
        first, *others = twins
        if rules.contradictions == "drop" and len({e.label for e in twins}) > 1:
            labels = ", ".join(sorted({e.label for e in twins}))
            yield from (_dropped(e, "contradictory_label", f"the same text is labelled {labels}") for e in twins)
            continue
        yield first
        if rules.duplicates == "keep":
            yield from others
        else:
            yield from (_dropped(e, "duplicate", f"same as line {first.line}") for e in others)


def _dropped(example: Example, reason: str, detail: str) -> Reject:
    return Reject(reason=reason, detail=detail, text=example.text[:500], file=example.file, line=example.line)


def _check_labels(kept: list[Example], spec: DataSpec, source: Located, rejects: list[Reject]) -> None:
    counts = Counter(e.label for e in kept)
    expected = spec.label.names or ([b.label for b in spec.label.bins] if spec.label.bins else list(counts))
    few = {label: counts[label] for label in expected if counts[label] < spec.rules.min_rows_per_label}
    if few or len(counts) < 2:
        shown = ", ".join(f"{label} {n}" for label, n in few.items()) or f"{len(counts)} labels in all"
        reasons = ", ".join(f"{r} {n}" for r, n in Counter(r.reason for r in rejects).items()) or "none"
        raise InvalidInput(
            f"{source.name}: too few rows to learn from ({shown}; needed: 2 labels with "
            f"{spec.rules.min_rows_per_label} rows each). Rejected: {reasons}. Add rows or lower data.rules."
        )
