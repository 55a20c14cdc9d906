"""One recipe's assets: from curated data to the champion."""

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import dagster as dg

from assets import about, checks
from assets.checks import checked
from assets.declared import Declared
from assets.formats import format_assets
from assets.judging import evidence_assets
from assets.launch import Workshop, explained
from assets.launchpad import changed, changes, launchpad, told
from assets.needs import needs
from assets.progress import show_download
from assets.project import Project
from assets.runs import tag_run
from assets.shipping import shipping_assets
from assets.succession import split_parts, succeeded
from assets.wiring import FLAKY, asset_of, ins_of, teacher_key_of
from supply_chain.data.source import locate
from supply_chain.formats.extras import check_extras
from supply_chain.job import Job
from supply_chain.keys import adapter_key, merged_key, search_key
from supply_chain.recipe import Recipe
from supply_chain.records import Artifact, Trained
from supply_chain.trials import Searched, chosen


def recipe_assets(recipe: Recipe, project: Project) -> list[Declared]:
    """The assets of one recipe, in the order in which data flows."""
    rooms = (_data, _models, format_assets, evidence_assets, shipping_assets)
    return [asset for room in rooms for asset in room(recipe, project)]


def _data(recipe: Recipe, project: Project) -> Iterator[Declared]:
    store, settings = project.store, project.settings

    @asset_of(recipe, "data", kinds={"parquet"}, retry_policy=FLAKY, **checked(recipe, "curated_data"))
    def curated_data() -> dg.MaterializeResult:
        """Rows that passed every rule; each rejected row is kept beside them with its reason."""
        from supply_chain.data.curate import curate  # noqa: PLC0415 (polars: definitions do without)

        with explained():
            source = locate(recipe.data.source, settings.downloads, settings.root, show_download)
            stored = curate(recipe.data, source, store)
        return about.made(stored, about.curated(stored, source.version), checks.data_quality(stored.record))

    @asset_of(
        recipe,
        *split_parts(recipe),
        kinds={"parquet"},
        ins=ins_of(recipe, "curated_data"),
        retry_policy=FLAKY,
        **checked(recipe, "splits"),
    )
    def splits(curated_data: Any) -> dg.MaterializeResult:
        """Train, validation and test rows, whole groups on one side, proven free of leaks; the train rows with
        corrections and a replay of earlier ones where the recipe asks for it."""
        from supply_chain.data.split import split  # noqa: PLC0415 (polars: definitions do without)

        with explained():
            stored = succeeded(recipe, split(curated_data, recipe.data.split, settings.seed, store), project)
        return about.made(stored, about.splits(stored), checks.no_leak(stored))

    @asset_of(recipe, kinds={"html"}, ins=ins_of(recipe, "curated_data", "splits"))
    def data_card(curated_data: Any, splits: Any) -> dg.MaterializeResult:
        """What was kept, rejected, split and suspected: a page for people, JSON for programs."""
        from supply_chain.data.report import stored_card  # noqa: PLC0415 (polars: definitions do without)

        with explained():
            stored = stored_card(curated_data, splits, store)
        return about.made(stored, about.page(stored, "data.html"))

    yield from (curated_data, splits, data_card)


def _models(recipe: Recipe, project: Project) -> Iterator[Declared]:
    options = {"recipe": recipe.model_dump(mode="json")}
    taught = ["teacher"] if teacher_key_of(recipe) else []
    sought = ["search"] if recipe.search else []

    def job_of(inputs: dict[str, Any]) -> Job:
        return Job(recipe, inputs["base"], inputs["splits"], project.settings, project.store, inputs.get("teacher"))

    if recipe.search:

        @asset_of(
            recipe,
            *("train", "search", "prompt", "evaluate.metric"),
            name="search",
            kinds={"optuna"},
            ins=ins_of(recipe, "base", "splits", *taught),
            retry_policy=FLAKY,
            op_tags=needs(recipe, project, "train"),
        )
        def tried(context: dg.AssetExecutionContext, **inputs: Any) -> dg.MaterializeResult:
            """Trains with other values of `train`, measured on validation rows; a killed search goes on."""
            with explained():
                shop = Workshop(project, context)
                stored = shop.make(Searched, search_key(job_of(inputs)), "search", inputs, options)
            return about.made(stored, about.searched(stored))

        yield tried

    @asset_of(
        recipe,
        *("train", "prompt"),
        kinds={"pytorch"},
        ins=ins_of(recipe, "base", "splits", *taught, *sought),
        config_schema=launchpad(recipe),
        retry_policy=FLAKY,
        op_tags=needs(recipe, project, "train"),
    )
    def adapter(context: dg.AssetExecutionContext, **inputs: Any) -> dg.MaterializeResult:
        """What training learned (adapter or weights), in a worker process; a killed run resumes at its checkpoint.

        Values changed in the launchpad make an experiment: it is judged and registered, but promoted by no run.
        """
        with explained():
            check_extras(recipe)
            shop, found = Workshop(project, context), inputs.pop("search", None)
            others = changes(recipe, context)
            own = changed(chosen(recipe, found.record) if found else recipe, others)
            job = replace(job_of(inputs), recipe=own)
            stored = shop.make(Trained, adapter_key(job), "adapter", inputs, {"recipe": own.model_dump(mode="json")})
        tag_run(context, {"mlflow/run": stored.record.tracking_run, "supply_chain/changed": told(others)})
        return about.made(stored, {**about.adapter(stored), "changed for this run": told(others) or "nothing"})

    @asset_of(
        recipe,
        kinds={"safetensors"},
        ins=ins_of(recipe, "base", "splits", "adapter", *taught),
        op_tags=needs(recipe, project, "load"),
    )
    def merged_model(context: dg.AssetExecutionContext, **inputs: Any) -> dg.MaterializeResult:
        """Full-precision weights that load alone: an adapter is merged into its base."""
        with explained():
            shop = Workshop(project, context)
            stored = shop.make(Artifact, merged_key(job_of(inputs), inputs["adapter"]), "merged", inputs, options)
        return about.made(stored, about.artifact(stored))

    yield from (adapter, merged_model)
