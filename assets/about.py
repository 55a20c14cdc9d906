"""What a person wants to see of each stored object, as Dagster metadata."""

import json
import math
from collections import Counter
from typing import Any
from urllib.parse import quote

import dagster as dg

from assets import plots
from evals.records import Forgetting, Report, Scorecard
from evals.stock_run import StockRun, read_metrics
from evals.table import contestant_rows
from registry.gate import Decision
from registry.release import Release
from supply_chain.records import Artifact, BaseModelRecord, Curated, Parity, Predictions, Splits, Trained
from supply_chain.settings import Settings
from supply_chain.store import Stored
from supply_chain.trials import Searched

Metadata = dict[str, Any]
SOURCE_VERSION = "source version"


def made(stored: Stored, metadata: Metadata, *checks: dg.AssetCheckResult) -> dg.MaterializeResult:
    """The result of an asset: its value, its metadata, its checks and a data version that follows its bytes."""
    place: Metadata = {"store/key": stored.key, "store/path": dg.MetadataValue.path(stored.path)}
    return dg.MaterializeResult(
        value=stored,
        metadata={**metadata, **place},
        data_version=dg.DataVersion(stored.digest),
        check_results=list(checks),
    )


def curated(stored: Stored[Curated], version: str) -> Metadata:
    """Rows read, kept and rejected by reason; `version` of the source tells new data from old."""
    record = stored.record
    return {
        SOURCE_VERSION: version,
        "dagster/row_count": record.rows_kept,
        "rows read": record.rows_read,
        "rejected by reason": _table(("reason", "rows"), sorted(record.rejects.items())),
        "source": record.source,
        "licence": record.license,
        "attribution": record.attribution,
    }


def splits(stored: Stored[Splits]) -> Metadata:
    """Rows by split and label."""
    record = stored.record
    rows = [(name, *(counts.get(label, 0) for label in record.labels)) for name, counts in record.rows.items()]
    before = record.succession
    taken = {f"taken over: {name}": value for name, value in before.model_dump().items() if value} if before else {}
    return {
        **taken,
        "dagster/row_count": sum(json.loads((stored.path / "proof.json").read_text())["rows"].values()),
        "rows by label": _table(("split", *record.labels), rows),
        "groups": _table(("split", "groups"), list(record.groups.items())),
        "proof": dg.MetadataValue.path(stored.path / "proof.json"),
    }


def base(stored: Stored[BaseModelRecord]) -> Metadata:
    """Where a base model is from and what it may be used for."""
    record = stored.record
    return {
        "revision": record.revision,
        "licence": record.license,
        "parameters": record.parameters,
        "context (tokens)": record.context_tokens,
        "size (MB)": round(stored.size_bytes / 1e6, 1),
    }


def searched(stored: Stored[Searched]) -> Metadata:
    """Every trial with its values and what came of it."""
    record = stored.record
    keys = tuple(record.values)
    rows = [
        (
            t.number,
            t.outcome,
            _rounded(t.best),
            *(str(t.values[k]) for k in keys),
            len(t.measured),
            t.seconds / 60,
            t.why,
        )
        for t in record.trials
    ]
    return {
        "trials": _table(("trial", "outcome", record.metric, *keys, "measurements", "minutes", "why"), rows),
        "best trial": record.best,
        f"best {record.metric} (validation)": record.value,
        "best values": dg.MetadataValue.json(record.values),
        "outcomes": ", ".join(f"{n} {outcome}" for outcome, n in Counter(t.outcome for t in record.trials).items()),
        "minutes": round(sum(t.seconds for t in record.trials) / 60, 1),
        "MLflow run": record.tracking_run or "none",
    }


def adapter(stored: Stored[Trained]) -> Metadata:
    """Loss curve, duration and the arithmetic that was chosen."""
    record, spent = stored.record, stored.record.compute
    return {
        "loss": dg.MetadataValue.md(plots.loss_curve(record.losses)),
        "final loss": round(record.losses[-1].loss, 4),
        "steps": record.steps,
        "examples": record.examples,
        "minutes": round(record.seconds / 60, 1),
        "method": record.method,
        "went on from": record.champion or "the base",
        "trained parameters": record.trained_parameters,
        "validation": ", ".join(f"{p.value:.3f} (step {p.step})" for p in record.validation) or "not measured",
        "kept step": record.kept_step or record.steps,
        "compute": f"{spent.dtype}, {spent.attention} attention, {spent.threads} threads on {spent.device}",
        "MLflow run": record.tracking_run or "none",
        **({"teacher's answers (USD)": round(record.teacher_usd, 4)} if record.teacher_usd is not None else {}),
    }


def artifact(stored: Stored[Artifact]) -> Metadata:
    """Format, size and runtime."""
    record = stored.record
    return {
        "format": record.format,
        "size (MB)": round(stored.size_bytes / 1e6, 1),
        "runtime": record.runtime,
        "licence": record.license,
        "digest": stored.digest,
    }


def formats(made: list[Stored[Artifact]]) -> Metadata:
    """Every format's size and runtime."""
    rows = [(a.record.format, a.record.bits, round(a.size_bytes / 1e6, 1), a.record.runtime) for a in made]
    return {"formats": _table(("format", "bits", "size (MB)", "runtime"), rows)}


def parity(made: list[Stored[Parity]]) -> Metadata:
    """What each check found, hop by hop."""
    rows = [(f.hop, f.name, f.sentence) for stored in made for f in stored.record.findings]
    return {"checks": _table(("hop", "check", "finding"), rows)}


def predictions(answers: list[Stored[Predictions]]) -> Metadata:
    """Rows and speed of every contestant."""
    rows = [
        (p.contestant, p.rows, round(p.p50_ms, 1), round(p.p95_ms, 1), round(p.decisions_per_second, 1), p.size_bytes)
        for p in (stored.record for stored in answers)
    ]
    return {"contestants": _table(("contestant", "rows", "p50 ms", "p95 ms", "decisions/s", "bytes"), rows)}


def forgetting(stored: Stored[Forgetting]) -> Metadata:
    """Accuracy of every version on every earlier test set."""
    record = stored.record
    cells = [(t.first, name, round(e.mean, 4), e.n, t.left_out) for t in record.tests for name, e in t.accuracy.items()]
    return {
        "accuracy": _table(("test set of version", "version", "accuracy", "rows", "left out"), cells),
        "average forgetting": round(record.average.mean, 4) if record.average else "no evidence",
        "champions gone": ", ".join(map(str, record.gone)) or "none",
    }


def stock(runs: list[Stored[StockRun]]) -> Metadata:
    """Every metric of lm-eval's tasks."""
    rows = [
        (who, one.name, round(one.value, 4), one.rows)
        for who, run in zip(("candidate", "base"), runs, strict=True)
        for one in read_metrics(run)
    ]
    return {"tasks": _table(("model", "metric", "value", "rows"), rows)}


def scorecard(stored: Stored[Scorecard]) -> Metadata:
    """The table of contestants, what Dagster draws over time, and plots."""
    card = stored.record
    rows = contestant_rows(card)
    found: Metadata = {
        "scorecard": _table(tuple(rows[0]), [tuple(row.values()) for row in rows]),
        "test rows": card.rows,
        "candidate": card.candidate,
        "frontier": dg.MetadataValue.md(plots.frontier(card)),
    }
    if card.confidence is not None and card.confidence.bins:
        found["reliability"] = dg.MetadataValue.md(plots.reliability(card.confidence))
    candidate = card.contestant(card.candidate)
    if candidate is not None:
        figures: Metadata = {card.metric: candidate.metric(card.metric).mean, "p95 (ms)": candidate.p95_ms}
        figures |= {"$ for 1,000": candidate.usd_per_1k.mean, "size (MB)": candidate.size_bytes / 1e6}
        found |= {name: value for name, value in figures.items() if math.isfinite(value)}
    return found


def decision(stored: Stored[Decision]) -> Metadata:
    """The decision and its reasons in sentences."""
    reasons = "\n".join(f"- {'✓' if c.passed else '✗'} {c.sentence}" for c in stored.record.checks)
    return {"decision": stored.record.headline, "reasons": dg.MetadataValue.md(reasons)}


def page(stored: Stored, name: str) -> Metadata:
    """Where a stored page is."""
    return {"page": dg.MetadataValue.url((stored.path / name).resolve().as_uri())}


def report(stored: Stored[Report]) -> Metadata:
    """The summary and where the page is."""
    return {
        **page(stored, "report.html"),
        "summary": dg.MetadataValue.md((stored.path / "summary.md").read_text(encoding="utf-8")),
    }


def release(found: Release, settings: Settings) -> Metadata:
    """The MLflow version and what it stands for."""
    return {
        **_links(found, settings),
        "MLflow model": found.name,
        "MLflow version": found.version,
        "aliases": ", ".join(found.aliases) or "none",
        "decision": found.headline,
        "tracking server": settings.tracking_uri,
        "digests": dg.MetadataValue.json(found.digests),
    }


def _links(found: Release, settings: Settings) -> Metadata:
    """The version's page; a database has none."""
    server = settings.tracking_uri.rstrip("/")
    if not server.startswith(("http://", "https://")):
        return {}
    return {"MLflow": dg.MetadataValue.url(f"{server}/#/models/{quote(found.name)}/versions/{found.version}")}


def _rounded(value: float | None) -> str:
    return "" if value is None else f"{value:.4f}"


def _table(columns: tuple[str, ...], rows: list[Any]) -> dg.TableMetadataValue:
    records = [dg.TableRecord(dict(zip(columns, row, strict=True))) for row in rows]
    schema = dg.TableSchema([dg.TableColumn(name, _type(records, name)) for name in columns])
    return dg.MetadataValue.table(records, schema)


def _type(records: list[dg.TableRecord], name: str) -> str:
    value = records[0].data[name] if records else ""
    return {int: "int", float: "float"}.get(type(value), "string")
