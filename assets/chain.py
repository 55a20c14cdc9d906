"""One recipe's assets: from curated data to the champion."""

from collections.abc import Iterator
from datetime import timedelta
from typing import Any

import dagster as dg

from assets import about
from assets.contest import contestants
from assets.launch import Workshop, explained
from assets.progress import show_download
from assets.project import Project
from evals.report import render_report
from evals.scorecard import score
from registry.gate import judge, verdict
from registry.release import register
from supply_chain.data.curate import curate
from supply_chain.data.report import stored_card
from supply_chain.data.source import locate
from supply_chain.data.split import split
from supply_chain.identity import identity
from supply_chain.job import Job
from supply_chain.keys import adapter_key, merged_key, quantized_key
from supply_chain.recipe import Recipe
from supply_chain.recipe.distill import DistillTrain
from supply_chain.recipe.tasks import METRICS
from supply_chain.records import Artifact, Trained

Pipes = dg.ResourceParam[dg.PipesSubprocessClient]


def base_key_of(name: str) -> dg.AssetKey:
    """The asset of a base model; key parts hold letters, digits and underscores."""
    return dg.AssetKey(["base_models", name.replace("-", "_").replace(".", "_")])


def recipe_assets(recipe: Recipe, project: Project) -> list[dg.AssetsDefinition]:
    """The assets of one recipe, in the order in which data flows; generation ends with its data so far."""
    rooms = (_data, _models, _evidence, _shipping) if is_trained(recipe) else (_data,)
    return [asset for room in rooms for asset in room(recipe, project)]


def is_trained(recipe: Recipe) -> bool:
    """Whether the chain can train and score this recipe's task."""
    return bool(METRICS[recipe.task])


def checks_of(recipe: Recipe) -> list[str]:
    """Names of the gate's checks, as asset checks: they block promotion within a run."""
    promote = recipe.promote
    limits = {
        "valid": promote.min_valid,
        "slices": promote.slice_minimum,
        "robustness": promote.max_drop,
        "p95": promote.max_p95_ms,
        "size": promote.max_size_mb,
        "cost": promote.max_usd_per_1k,
    }
    names = ["minimum", *(f"beats {name}" for name in promote.beats), "champion", "quantization"]
    return [*names, *(name for name, limit in limits.items() if limit is not None)]


def check_name(name: str) -> str:
    """A gate check's name as Dagster allows it."""
    return f"gate_{name.replace(' ', '_')}"


def _common(recipe: Recipe, *parts: Any, **more: Any) -> dict[str, Any]:
    """What a recipe's assets share; an edit of `parts` of the recipe shows the asset as stale."""
    return {
        "key_prefix": recipe.name,
        "group_name": recipe.name,
        "owners": [recipe.owner],
        "tags": {"task": recipe.task, "base": recipe.base, "method": recipe.train.method},
        "code_version": identity("asset", 1, parts=parts)[:12],
        **more,
    }


def teacher_key_of(recipe: Recipe) -> dg.AssetKey | None:
    """The asset that a `distill` recipe's student learns from: another recipe's weights, or a base model."""
    if not isinstance(recipe.train, DistillTrain):
        return None
    teacher = recipe.train.teacher
    return base_key_of(teacher.base) if teacher.base else dg.AssetKey([str(teacher.recipe), "merged_model"])


def _in(recipe: Recipe, *names: str) -> dict[str, dg.AssetIn]:
    keys = {"base": base_key_of(recipe.base), "teacher": teacher_key_of(recipe)}
    return {name: dg.AssetIn(keys.get(name) or dg.AssetKey([recipe.name, name])) for name in names}


def _data(recipe: Recipe, project: Project) -> Iterator[dg.AssetsDefinition]:
    store, settings = project.store, project.settings

    @dg.asset(kinds={"parquet"}, **_common(recipe, recipe.data))
    def curated_data() -> dg.MaterializeResult:
        """Rows that passed every rule; each rejected row is kept beside them with its reason."""
        with explained():
            source = locate(recipe.data.source, settings.downloads, settings.root, show_download)
            stored = curate(recipe.data, source, store)
        return about.made(stored, about.curated(stored, source.version))

    @dg.asset(kinds={"parquet"}, ins=_in(recipe, "curated_data"), **_common(recipe, recipe.data.split))
    def splits(curated_data: Any) -> dg.MaterializeResult:
        """Train, validation and test rows, whole groups on one side, proven free of leaks."""
        with explained():
            stored = split(curated_data, recipe.data.split, settings.seed, store)
        return about.made(stored, about.splits(stored))

    @dg.asset(kinds={"html"}, ins=_in(recipe, "curated_data", "splits"), **_common(recipe))
    def data_card(curated_data: Any, splits: Any) -> dg.MaterializeResult:
        """What was kept, rejected, split and suspected: a page for people, JSON for programs."""
        with explained():
            stored = stored_card(curated_data, splits, store)
        return about.made(stored, about.page(stored, "data.html"))

    yield from (curated_data, splits, data_card)


def _models(recipe: Recipe, project: Project) -> Iterator[dg.AssetsDefinition]:
    options = {"recipe": recipe.model_dump(mode="json")}
    taught = ["teacher"] if teacher_key_of(recipe) else []

    def job_of(inputs: dict[str, Any]) -> Job:
        return Job(recipe, inputs["base"], inputs["splits"], project.settings, project.store, inputs.get("teacher"))

    @dg.asset(
        kinds={"pytorch"},
        ins=_in(recipe, "base", "splits", *taught),
        **_common(recipe, recipe.train, recipe.prompt),
    )
    def adapter(context: dg.AssetExecutionContext, pipes: Pipes, **inputs: Any) -> dg.MaterializeResult:
        """What training learned (adapter or weights), in a worker process; a killed run resumes at its checkpoint."""
        with explained():
            shop = Workshop(project, context, pipes)
            stored = shop.make(Trained, adapter_key(job_of(inputs)), "adapter", inputs, options)
        return about.made(stored, about.adapter(stored))

    @dg.asset(kinds={"safetensors"}, ins=_in(recipe, "base", "splits", "adapter", *taught), **_common(recipe))
    def merged_model(context: dg.AssetExecutionContext, pipes: Pipes, **inputs: Any) -> dg.MaterializeResult:
        """Full-precision weights that load alone: an adapter is merged into its base."""
        with explained():
            shop = Workshop(project, context, pipes)
            stored = shop.make(Artifact, merged_key(job_of(inputs), inputs["adapter"]), "merged", inputs, options)
        return about.made(stored, about.artifact(stored))

    @dg.asset(
        kinds={"safetensors"},
        ins=_in(recipe, "base", "splits", "merged_model"),
        **_common(recipe, recipe.quantize),
    )
    def quantized_model(
        context: dg.AssetExecutionContext, pipes: Pipes, base: Any, splits: Any, merged_model: Any
    ) -> dg.MaterializeResult:
        """The weights in 4 bits: what is evaluated, registered and served."""
        with explained():
            shop = Workshop(project, context, pipes)
            inputs = {"base": base, "splits": splits, "merged": merged_model}
            key = quantized_key(job_of(inputs), merged_model, recipe.quantize[0])
            stored = shop.make(Artifact, key, "quantized", inputs, options)
        return about.made(stored, about.artifact(stored))

    yield from (adapter, merged_model, quantized_model)


def _evidence(recipe: Recipe, project: Project) -> Iterator[dg.AssetsDefinition]:
    store, settings = project.store, project.settings

    @dg.asset(
        kinds={"lm-eval"},
        ins=_in(recipe, "base", "splits", "merged_model", "quantized_model"),
        **_common(recipe, recipe.evaluate, recipe.prompt),
    )
    def predictions(
        context: dg.AssetExecutionContext, pipes: Pipes, base: Any, splits: Any, merged_model: Any, quantized_model: Any
    ) -> dg.MaterializeResult:
        """Every contestant's answers to the test rows, each from its stored bytes in a process of its own."""
        with explained():
            job = Job(recipe, base, splits, settings, store)
            answers = contestants(job, merged_model, quantized_model, Workshop(project, context, pipes))
        version = identity("predictions", 1, parts=[stored.digest for stored in answers])
        return dg.MaterializeResult(
            value=answers, metadata=about.predictions(answers), data_version=dg.DataVersion(version)
        )

    @dg.asset(kinds={"scikitlearn"}, ins=_in(recipe, "splits", "predictions"), **_common(recipe, recipe.evaluate))
    def scorecard(splits: Any, predictions: Any) -> dg.MaterializeResult:
        """Quality with intervals, cost and speed of every contestant on the same rows."""
        with explained():
            stored = score(recipe, splits, predictions, recipe.quantize[0].scheme, settings.seed, store)
        return about.made(stored, about.scorecard(stored))

    @dg.asset(ins=_in(recipe, "scorecard"), **_common(recipe, recipe.promote))
    def decision(scorecard: Any) -> dg.MaterializeResult:
        """What the recipe's gates say about the scorecard, in sentences."""
        with explained():
            stored = judge(recipe.promote, scorecard, store)
        return about.made(stored, about.decision(stored))

    @dg.asset(kinds={"html"}, ins=_in(recipe, *_LINEAGE), **_common(recipe))
    def report(**inputs: Any) -> dg.MaterializeResult:
        """The evaluation report that a domain expert reads: one self-contained HTML file."""
        judged = inputs["decision"]
        with explained():
            stored = render_report(
                recipe=recipe,
                scorecard=inputs["scorecard"],
                splits=inputs["splits"],
                verdict=verdict(judged.record),
                decision_digest=judged.digest,
                lineage={name: inputs[name].digest for name in _LINEAGE},
                store=store,
            )
        return about.made(stored, about.report(stored))

    yield from (predictions, scorecard, decision, report)


_LINEAGE = ("curated_data", "splits", "base", "adapter", "merged_model", "quantized_model", "scorecard", "decision")


def _shipping(recipe: Recipe, project: Project) -> Iterator[dg.AssetsDefinition]:
    store, settings = project.store, project.settings
    key = dg.AssetKey([recipe.name, "registered_model"])
    specs = [dg.AssetCheckSpec(check_name(name), asset=key, blocking=True) for name in checks_of(recipe)]

    def registered(inputs: dict[str, Any]) -> Any:
        return register(
            recipe,
            inputs["quantized_model"],
            inputs["scorecard"],
            inputs["decision"],
            inputs["report"],
            inputs["adapter"].record.tracking_run,
            settings,
            store,
        )

    @dg.asset(kinds={"mlflow"}, check_specs=specs, ins=_in(recipe, *_EVIDENCE), **_common(recipe, recipe.route))
    def registered_model(**inputs: Any) -> dg.MaterializeResult:
        """The MLflow model version, as challenger, with its decision; a failed gate stops what follows."""
        with explained():
            release = registered(inputs)
        results = about.check_results(inputs["decision"].record, key, check_name)
        return dg.MaterializeResult(
            metadata=about.release(release, settings),
            check_results=results,
            data_version=dg.DataVersion(release.tags["release"]),
        )

    days = recipe.automate.max_age_days

    @dg.asset(
        kinds={"mlflow"},
        deps=[registered_model],
        output_required=False,
        ins=_in(recipe, *_EVIDENCE),
        freshness_policy=dg.FreshnessPolicy.time_window(timedelta(days=days)) if days else None,
        **_common(recipe, recipe.route),
    )
    def champion(context: dg.AssetExecutionContext, **inputs: Any) -> Iterator[dg.MaterializeResult]:
        """The version that serves. Evidence is verified again by digest: a check only blocks within its own run.

        Nothing where a person decides: the version waits as challenger and the run ends well.
        """
        with explained():
            found = registered(inputs)
            waits = project.desk.waits(found)
            release = found if waits else project.desk.promote(found)
        if waits:
            context.log.info(waits)
            return
        yield dg.MaterializeResult(
            metadata=about.release(release, settings), data_version=dg.DataVersion(release.tags["release"])
        )

    yield from (registered_model, champion)


_EVIDENCE = ("adapter", "quantized_model", "scorecard", "decision", "report")
