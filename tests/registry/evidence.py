"""Evidence made by hand: scorecards with chosen figures, and everything that is stored around them."""

import shutil
from datetime import UTC, datetime
from pathlib import Path

from evals.estimates import Estimate
from evals.records import Contestant, Difference, Report, Scorecard
from registry.evidence import Evidence
from registry.gate import Decision, judge
from registry.release import Release
from registry.routing import Model, ModelRoute, RoutingManifest
from registry.terms import CAUSES
from supply_chain.calibration import Calibration
from supply_chain.identity import canonical_json, identity
from supply_chain.prompt import Renderer
from supply_chain.recipe import Recipe
from supply_chain.records import Artifact, Origin
from supply_chain.serving import Serving
from supply_chain.store import Store, Stored

ORIGINS = [
    Origin(role="base", name="tiny", license="CC0-1.0"),
    Origin(role="data", name="tiny_reviews", license="CC0-1.0", sensitivity="internal"),
]
LABELS = ["negative", "neutral", "positive"]


def estimate(mean: float, low: float, high: float, n: int = 749) -> Estimate:
    return Estimate(mean=mean, low=low, high=high, n=n)


def contestant(name: str, digest: str = "", f1: Estimate | None = None, **figures) -> Contestant:
    f1 = f1 or estimate(0.741, 0.70, 0.78)
    values = {
        "name": name, "title": name, "model_digest": digest, "metrics": {"macro_f1": f1, "accuracy": f1},
        "p50_ms": 30.0, "p95_ms": 45.0, "decisions_per_second": 80.0, "size_bytes": 112_000_000,
        "peak_memory_bytes": 900_000_000,
        "usd_per_1k": estimate(5.0, 4.5, 5.5), "usd_per_month": 1000.0, "predictions_key": "", "predictions_digest": "",
    }  # fmt: skip
    return Contestant(**{**values, **figures})


DIFFERENCES = {
    "tfidf": estimate(0.08, 0.04, 0.12),
    "base": estimate(0.4, 0.36, 0.44),
    "specialist": estimate(-0.006, -0.02, 0.009),
}


def scorecard(
    recipe: str = "tiny_reviews", digest: str = "d" * 64, champion: str | None = None, **changes
) -> Scorecard:
    """A candidate that passes every gate; `champion` is the digest of a champion that it beats."""
    differences = {**DIFFERENCES, **({"champion": estimate(0.02, 0.001, 0.04)} if champion is not None else {})}
    differences.update(changes.pop("differences", {}))
    others = [contestant(name) for name in DIFFERENCES]
    if champion is not None:
        others.append(contestant("champion", champion))
    values = {
        "recipe": recipe, "task": "classification",
        "metric": "macro_f1", "candidate": "bnb-nf4", "splits_digest": "5" * 64, "labels": LABELS,
        "rows": 749, "groups": 80, "contestants": [*others, contestant("bnb-nf4", digest, **changes.pop("own", {}))],
        "differences": [
            Difference(contestant="bnb-nf4", against=name, metric="macro_f1", estimate=found)
            for name, found in differences.items() if found is not None
        ],
        "by_label": [], "confusion": {}, "kpis": {"volume_per_month": 1000, "mistake_usd": 0.02},
    }  # fmt: skip
    return Scorecard.model_validate({**values, **changes})


def store_artifact(
    recipe: Recipe, store: Store, model: Path | None = None, salt: str = "", origins: list[Origin] | None = None
) -> Stored[Artifact]:
    """An artifact with `model`'s files, or a few bytes in their place; `salt` changes its bytes."""
    prompt_sha256 = Renderer(recipe.prompt, tuple(LABELS)).sha256

    def make(folder: Path) -> Artifact:
        if model is not None:
            shutil.copytree(model, folder, dirs_exist_ok=True)
        else:
            (folder / "model.safetensors").write_bytes(b"weights" * 100)
        (folder / "salt.txt").write_text(salt)
        calibration = Calibration()
        Serving(prompt=recipe.prompt, labels=LABELS, prompt_sha256=prompt_sha256, calibration=calibration).write(folder)
        return Artifact(
            format="bnb-nf4", bits=4, made_from="6" * 64, base_name="tiny", base_digest="b" * 64, license="CC0-1.0",
            context_tokens=512, tokenizer_sha256="7" * 64, chat_template_sha256="c" * 64, prompt_sha256=prompt_sha256,
            labels=LABELS, runtime="transformers, bitsandbytes", origins=origins or ORIGINS,
        )  # fmt: skip

    return store.once(Artifact, identity("test-artifact", 1, name=recipe.name, salt=salt), make)


def store_scorecard(card: Scorecard, store: Store) -> Stored[Scorecard]:
    def make(folder: Path) -> Scorecard:
        (folder / "scorecard.json").write_text(canonical_json(card))
        return card

    return store.once(Scorecard, identity("test-scorecard", 1, card=card), make)


def store_report(card: Stored[Scorecard], decision: Stored[Decision], store: Store) -> Stored[Report]:
    def make(folder: Path) -> Report:
        report = Report(
            scorecard_digest=card.digest, decision_digest=decision.digest, title="t", promoted=decision.record.promoted
        )
        (folder / "report.html").write_text("<h1>Report</h1>")
        (folder / "report.json").write_text(canonical_json(report))
        (folder / "summary.md").write_text("# Report")
        return report

    return store.once(Report, identity("test-report", 1, card=card.digest, decision=decision.digest), make)


def evidence_for(
    recipe: Recipe, artifact: Stored[Artifact], store: Store, champion: str | None = None, **changes
) -> tuple[Stored[Scorecard], Stored[Decision], Stored[Report]]:
    """Scorecard, decision and report about `artifact`."""
    card = store_scorecard(scorecard(recipe.name, artifact.digest, champion, **changes), store)
    decision = judge(recipe.promote, card, store)
    return card, decision, store_report(card, decision, store)


def release_made_by_hand(
    recipe: Recipe,
    store: Store,
    version: int = 1,
    salt: str = "",
    origins: list[Origin] | None = None,
    **changes,
) -> Release:
    """A release as MLflow would show it, without MLflow."""
    artifact = store_artifact(recipe, store, salt=salt, origins=origins)
    claims = Evidence(artifact, *evidence_for(recipe, artifact, store, **changes)).claims(recipe.name, recipe.route)
    created = datetime(2026, 1, 1, tzinfo=UTC)
    return Release(
        name=recipe.name, version=version, run_id="r", aliases=["champion"], created=created, tags=claims.tags()
    )


def fleet_of(manifest: RoutingManifest, *parts: dict, fallback: dict | None = None) -> RoutingManifest:
    """A manifest with a model and a route for each of `parts`."""
    models, routes = [], []
    for part in parts:
        own = {k: v for k, v in part.items() if k in Model.model_fields}
        models.append(manifest.models[0].model_copy(update=own))
        to = part.get("to", "generalist")
        more = {k: v for k, v in part.items() if k in ModelRoute.model_fields}
        base = {"task": part["name"], "keywords": [], "fallbacks": dict.fromkeys(CAUSES, to)}
        candidates = [manifest.routes[0].candidates[0].model_copy(update={"model": part["name"]})]
        routes.append(manifest.routes[0].model_copy(update={**base, "candidates": candidates, **more}))
    last = manifest.fallback.model_copy(update=fallback or {})
    return manifest.model_copy(update={"models": models, "routes": routes, "fallback": last})
