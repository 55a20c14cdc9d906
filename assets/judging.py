"""A recipe's evidence: answers, scorecard, decision, report."""

from collections.abc import Iterator
from typing import Any

import dagster as dg

from assets import about, checks
from assets.checks import checked
from assets.contest import contestants, memory, stock_runs
from assets.declared import Declared
from assets.launch import Workshop, explained
from assets.needs import needs
from assets.project import Project
from assets.shown import WHOLE
from assets.wiring import FLAKY, asset_of, ins_of
from evals.choice import choose
from evals.judgement import try_all
from evals.report import render_report
from evals.scorecard import Beside, score
from registry.gate import judge, verdict
from supply_chain.identity import identity
from supply_chain.job import Job
from supply_chain.recipe import Recipe
from supply_chain.recipe.continual import Continued

_LINEAGE = ("curated_data", "splits", "base", "adapter", "merged_model", "quantized_model", "scorecard", "decision")


def evidence_assets(recipe: Recipe, project: Project) -> Iterator[Declared]:
    """Answers to the test rows, and what follows from them."""
    store, settings = project.store, project.settings

    @asset_of(
        recipe,
        *("evaluate", "prompt"),
        kinds={"lm-eval"},
        ins=ins_of(recipe, "base", "splits", "merged_model", "artifacts", "parity"),
        retry_policy=FLAKY,
        op_tags=needs(recipe, project, "load"),
    )
    def predictions(context: dg.AssetExecutionContext, **inputs: Any) -> dg.MaterializeResult:
        """Every contestant's answers to the test rows, each from its stored bytes in a process of its own."""
        with explained():
            job = Job(recipe, inputs["base"], inputs["splits"], settings, store)
            made = (inputs["merged_model"], inputs["artifacts"], inputs["parity"])
            answers = contestants(job, *made, Workshop(project, context))
        version = identity("predictions", 1, parts=[stored.digest for stored in answers])
        return dg.MaterializeResult(
            value=answers, metadata=about.predictions(answers), data_version=dg.DataVersion(version)
        )

    @asset_of(
        recipe,
        "choose",
        kinds={"safetensors"},
        ins=ins_of(recipe, "splits", "artifacts", "predictions"),
        **checked(recipe, "quantized_model"),
    )
    def quantized_model(splits: Any, artifacts: Any, predictions: Any) -> dg.MaterializeResult:
        """The candidate among the formats: what is judged, registered and served."""
        with explained():
            choice = choose(recipe, splits, predictions, settings.seed)
            stored = next(a for a in artifacts if a.record.format == choice.contestant)
        told = {**about.artifact(stored), "candidate": choice.sentence}
        return about.made(stored, told, checks.model_size(recipe, stored, predictions))

    if remembers(recipe):

        @asset_of(
            recipe,
            kinds={"pytorch"},
            ins=ins_of(recipe, "base", "splits", "quantized_model"),
            op_tags=needs(recipe, project, "load"),
            **checked(recipe, "forgetting"),
        )
        def forgetting(
            context: dg.AssetExecutionContext, base: Any, splits: Any, quantized_model: Any
        ) -> dg.MaterializeResult:
            """What the candidate and the champions before it answer to earlier test sets."""
            with explained():
                job = Job(recipe, base, splits, settings, store)
                stored = memory(job, quantized_model, Workshop(project, context))
            return about.made(stored, about.forgetting(stored), checks.forgotten(recipe, stored.record))

        yield forgetting

    if recipe.evaluate.tasks:

        @asset_of(
            recipe,
            "evaluate.tasks",
            kinds={"lm-eval"},
            ins=ins_of(recipe, "base", "splits", "quantized_model"),
            op_tags=needs(recipe, project, "load"),
        )
        def stock_tasks(
            context: dg.AssetExecutionContext, base: Any, splits: Any, quantized_model: Any
        ) -> dg.MaterializeResult:
            """lm-eval's tasks on local data: the candidate's answers, and those of the base that it was made from."""
            with explained():
                job = Job(recipe, base, splits, settings, store)
                runs = stock_runs(job, quantized_model, Workshop(project, context))
            version = identity("stock_tasks", 1, parts=[run.digest for run in runs])
            return dg.MaterializeResult(value=runs, metadata=about.stock(runs), data_version=dg.DataVersion(version))

        yield stock_tasks

    besides = {"forgetting": remembers(recipe), "stock_tasks": bool(recipe.evaluate.tasks)}
    asked = ("splits", "predictions", *(name for name, there in besides.items() if there))

    @asset_of(
        recipe,
        "evaluate",
        kinds={"scikitlearn"},
        ins=ins_of(recipe, *asked),
        retry_policy=FLAKY,
        **checked(recipe, "scorecard"),
    )
    def scorecard(splits: Any, predictions: Any, **more: Any) -> dg.MaterializeResult:
        """Quality with intervals, cost and speed of every contestant on the same rows."""
        with explained():
            candidate = choose(recipe, splits, predictions, settings.seed)
            trial = try_all(recipe, splits, predictions, settings, store)
            beside = Beside(trial, more.get("forgetting"), more.get("stock_tasks", ()))
            stored = score(recipe, splits, predictions, candidate.contestant, settings.seed, store, beside)
        return about.made(stored, about.scorecard(stored), checks.kpis(stored.record))

    @asset_of(recipe, "promote", kinds={"json"}, ins=ins_of(recipe, "scorecard"))
    def decision(scorecard: Any) -> dg.MaterializeResult:
        """What the recipe's gates say about the scorecard, in sentences."""
        with explained():
            stored = judge(recipe.promote, scorecard, store)
        return about.made(stored, about.decision(stored))

    @asset_of(recipe, WHOLE, kinds={"html"}, ins=ins_of(recipe, *_LINEAGE))
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

    yield from (predictions, quantized_model, scorecard, decision, report)


def remembers(recipe: Recipe) -> bool:
    """Whether earlier test sets are part of a recipe's evidence."""
    goes_on = isinstance(recipe.train, Continued) and recipe.train.continual is not None
    return goes_on or recipe.promote.max_forgetting is not None
