"""A recipe's last assets: the registered version, and the champion."""

import re
from collections.abc import Iterator
from datetime import timedelta
from typing import Any

import dagster as dg

from assets import about
from assets.checks import gate_results
from assets.declared import Declared
from assets.launch import explained
from assets.launchpad import experiment
from assets.project import Project
from assets.runs import tag_run
from assets.wiring import FLAKY, asset_of, ins_of
from registry.checks import check_names
from registry.release import register
from supply_chain.recipe import Recipe

_EVIDENCE = ("adapter", "quantized_model", "scorecard", "decision", "report")


def check_name(name: str) -> str:
    """A gate check's name as Dagster allows it."""
    return "gate_" + re.sub(r"[^A-Za-z0-9_]", "_", name)


def shipping_assets(recipe: Recipe, project: Project) -> Iterator[Declared]:
    """What passed is promoted; what a person decides waits, and no run fails for it."""
    store, settings = project.store, project.settings
    key = dg.AssetKey([recipe.name, "registered_model"])
    specs = [dg.AssetCheckSpec(check_name(name), asset=key, blocking=True) for name in check_names(recipe.promote)]

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

    @asset_of(
        recipe,
        "route",
        kinds={"mlflow"},
        check_specs=specs,
        ins=ins_of(recipe, *_EVIDENCE),
        retry_policy=FLAKY,
    )
    def registered_model(context: dg.AssetExecutionContext, **inputs: Any) -> dg.MaterializeResult:
        """The MLflow version with its decision: challenger or, refused, candidate; a failed gate stops what follows."""
        with explained():
            release = registered(inputs)
        tag_run(
            context,
            {"mlflow/version": f"{release.name} {release.version}", "mlflow/run": release.tags.get("training_run")},
        )
        results = gate_results(inputs["decision"].record, key, check_name)
        return dg.MaterializeResult(
            metadata=about.release(release, settings),
            check_results=results,
            data_version=dg.DataVersion(release.tags["release"]),
        )

    days = recipe.automate.max_age_days

    @asset_of(
        recipe,
        "route",
        kinds={"mlflow"},
        deps=[key],
        output_required=False,
        ins=ins_of(recipe, *_EVIDENCE),
        freshness_policy=dg.FreshnessPolicy.time_window(timedelta(days=days)) if days else None,
        retry_policy=FLAKY,
    )
    def champion(context: dg.AssetExecutionContext, **inputs: Any) -> Iterator[dg.MaterializeResult]:
        """The version that serves. Evidence is verified again by digest: a check only blocks within its own run.

        Nothing where a person decides, as after values were changed in the launchpad: the version waits as challenger
        and the run ends well.
        """
        with explained():
            found = registered(inputs)
            waits = experiment(recipe, context) or project.desk.waits(found)
            release = found if waits else project.desk.promote(found)
        if waits:
            context.log.info(waits)
            return
        yield dg.MaterializeResult(
            metadata=about.release(release, settings), data_version=dg.DataVersion(release.tags["release"])
        )

    yield from (registered_model, champion)
