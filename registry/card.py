"""The model card of a release, in the format of the Hugging Face hub: metadata, then what a person asks first."""

import re
from collections.abc import Iterable, Sequence

from evals.metrics import TITLES
from evals.records import Contestant
from registry.adapters import Adapter
from registry.evidence import Evidence
from supply_chain.recipe import Recipe
from supply_chain.recipe.adapter import room_for
from supply_chain.records import Origin

_PIPELINES = {"classification": "text-classification", "multilabel": "text-classification"}
_SPECIAL = re.compile(r"([\\`*_{}\[\]<>|#])")


def card_of(recipe: Recipe, evidence: Evidence, adapter: Adapter | None = None) -> str:
    """`README.md`: the hub's metadata, with every metric as an evaluation result, and a text in Markdown.

    `adapter`: the one behind the artifact, for servers that share its base.
    """
    from huggingface_hub import ModelCardData  # noqa: PLC0415 (only where a release is registered)

    licence, named = _licence(evidence.artifact.record.origins)
    data = ModelCardData(
        model_name=recipe.name,
        base_model=evidence.artifact.record.base_name,
        datasets=[origin.name for origin in evidence.artifact.record.origins if origin.role == "data"],
        metrics=sorted(evidence.candidate.metrics),
        pipeline_tag=_PIPELINES.get(recipe.task, "text-generation"),
        tags=["supply-chain", recipe.task, evidence.artifact.record.format],
        eval_results=_results(recipe, evidence),
        license=licence,
        license_name=named,
    )
    return f"---\n{data.to_yaml()}\n---\n\n{_text(recipe, evidence, adapter)}"


def _licence(origins: Iterable[Origin]) -> tuple[str, str | None]:
    """One licence where all parts share it; the hub's `other` where they differ or it does not know the name."""
    from cyclonedx.spdx import fixup_id  # noqa: PLC0415

    names = sorted({origin.license for origin in origins})
    if len(names) == 1 and fixup_id(names[0]):
        return names[0].lower(), None
    return "other", " and ".join(names) or "unknown"


def _results(recipe: Recipe, evidence: Evidence) -> list:
    from huggingface_hub import EvalResult  # noqa: PLC0415

    return [
        EvalResult(
            task_type=_PIPELINES.get(recipe.task, "text-generation"),
            dataset_type=recipe.name,
            dataset_name=f"{recipe.name}, test split",
            dataset_split="test",
            dataset_revision=evidence.scorecard.record.splits_digest,
            metric_type=name,
            metric_name=f"{TITLES.get(name, name)}, 95 % interval {found.low:.3f} to {found.high:.3f}",
            metric_value=round(found.mean, 6),
        )
        for name, found in sorted(evidence.candidate.metrics.items())
    ]


def _text(recipe: Recipe, evidence: Evidence, adapter: Adapter | None) -> str:
    artifact, card = evidence.artifact.record, evidence.scorecard.record
    parts = [
        f"# {plain(recipe.name)}",
        plain(recipe.description),
        f"Owner: {plain(recipe.owner)}. Task: {plain(recipe.route.task)} ({recipe.task}). "
        + (f"Answers: {', '.join(map(plain, artifact.labels))}." if artifact.labels else ""),
        "## Made from",
        table(
            ("role", "name", "licence", "sensitivity", "zone"),
            [(o.role, o.name, o.license, o.sensitivity, o.zone) for o in artifact.origins],
        ),
        plain(recipe.data.attribution),
        "## Measured",
        f"On {card.rows} test rows in {card.groups} groups that training did not see; means with 95 % intervals.",
        _figures(evidence),
        "## Decision",
        plain(evidence.decision.record.headline),
        "\n".join(f"- {'✓' if c.passed else '✗'} {plain(c.sentence)}" for c in evidence.decision.record.checks),
        "## Limits",
        _limits(evidence),
        "## Bytes",
        f"{plain(artifact.format)} for {plain(artifact.runtime)}. `bom.cdx.json` lists every file with its SHA-256.",
        table(
            ("what", "digest"),
            [
                (name, getattr(evidence, name).digest)
                for name in ("artifact", "scorecard", "decision", "report")
            ]
            + ([("adapter", adapter.stored.digest)] if adapter else [])
            + [("data", card.splits_digest), ("base", artifact.base_digest), ("prompt", artifact.prompt_sha256)],
        ),
        _beside(recipe, evidence, adapter) if adapter else "",
    ]  # fmt: skip
    return "\n\n".join(part for part in parts if part) + "\n"


def _beside(recipe: Recipe, evidence: Evidence, adapter: Adapter) -> str:
    base = evidence.artifact.record.base_name
    place = f"{adapter.stored.record.kind}/{adapter.stored.key}"
    return (
        f"The LoRA adapter (rank {adapter.rank}, `{place}` in the store) also serves beside others on one "
        f"{plain(base)}: `vllm serve BASE --enable-lora --max-lora-rank {room_for([adapter.rank])} --lora-modules "
        f"{recipe.name}=ADAPTER`. It answers as full precision does, not as this format."
    )


def _figures(evidence: Evidence) -> str:
    card = evidence.scorecard.record
    names = sorted(evidence.candidate.metrics)
    titles = ("contestant", *(TITLES.get(name, name) for name in names), "p95 ms", "MB")
    return table(titles, [_row(contestant, names, card.candidate) for contestant in card.contestants])


def _row(contestant: Contestant, names: list[str], candidate: str) -> tuple[str, ...]:
    found = [contestant.metrics.get(name) for name in names]
    shown = [f"{e.mean:.3f} ({e.low:.3f} to {e.high:.3f})" if e else "not measured" for e in found]
    title = contestant.title + (" (this model)" if contestant.name == candidate else "")
    return (title, *shown, f"{contestant.p95_ms:.3g}", f"{contestant.size_bytes / 1e6:.3g}")


def _limits(evidence: Evidence) -> str:
    card, artifact = evidence.scorecard.record, evidence.artifact.record
    kept = card.confidence.kept if card.confidence else None
    said = [f"It sees {artifact.context_tokens} tokens at most, and knows no text unlike its data."]
    if kept is not None:
        said.append(f"Answers below confidence {kept.promise.threshold:.3f} are to be passed on.")
    weakest = [s for s in card.slices if s.estimate is not None]
    if weakest:
        worst = min(weakest, key=lambda s: s.estimate.mean if s.estimate else 1.0)
        assert worst.estimate is not None
        said.append(f"Weakest slice: {plain(worst.name)} with {worst.estimate.mean:.3f} on {worst.rows} rows.")
    return " ".join(said)


def table(titles: tuple[str, ...], rows: Iterable[Sequence[str]]) -> str:
    """A table in Markdown; whatever the cells hold stays text."""
    lines = [titles, tuple("---" for _ in titles), *(tuple(map(plain, row)) for row in rows)]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def plain(text: str) -> str:
    """Text of others as one line that Markdown and HTML leave alone."""
    return _SPECIAL.sub(r"\\\1", " ".join(text.split())).replace("\\<", "&lt;").replace("\\>", "&gt;")
