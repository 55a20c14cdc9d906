"""Heavy stages by name, as a worker process runs them."""

from collections.abc import Callable
from typing import Any

from assets.progress import show_download
from registry.tracking import MlflowTracker
from supply_chain.catalogue import BaseModelEntry
from supply_chain.job import Job
from supply_chain.opening import is_native
from supply_chain.recipe import Recipe
from supply_chain.recipe.quantize import Quantize
from supply_chain.settings import Settings
from supply_chain.store import Store, Stored

Inputs = dict[str, Stored]


def perform(stage: str, settings: Settings, inputs: Inputs, options: dict[str, Any]) -> Stored:
    """Runs one stage and returns what it stored. `options` holds `recipe` or `base`, as JSON."""
    return _STAGES[stage](settings, inputs, options)


def shares_imports(stage: str, inputs: Inputs, options: dict[str, Any]) -> bool:
    """Whether a stage may begin with torch and transformers loaded, and told to ask no hub.

    Not what asks one, nor contestants without these libraries: each process's memory is reported.
    """
    if stage == "base":
        return bool(options["base"]["source"]["kind"] != "hf")
    model = inputs.get("model")
    return stage != "baseline" and not (stage == "model" and model is not None and is_native(model.path))


def _base(settings: Settings, inputs: Inputs, options: dict[str, Any]) -> Stored:
    from supply_chain.hub import provide_base  # noqa: PLC0415 (imports below load torch: only where needed)

    entry = BaseModelEntry.model_validate(options["base"])
    return provide_base(entry, settings.downloads, Store.of(settings), show_download)


def _adapter(settings: Settings, inputs: Inputs, options: dict[str, Any]) -> Stored:
    from supply_chain.training import train  # noqa: PLC0415

    job = _job(settings, inputs, options)
    return train(job, lambda key: MlflowTracker(settings, job.recipe.name, key))


def _search(settings: Settings, inputs: Inputs, options: dict[str, Any]) -> Stored:
    from supply_chain.search import search  # noqa: PLC0415

    job = _job(settings, inputs, options)
    return search(job, lambda key, stage, parent: MlflowTracker(settings, job.recipe.name, key, stage, parent))


def _merged(settings: Settings, inputs: Inputs, options: dict[str, Any]) -> Stored:
    from supply_chain.artifacts import merge  # noqa: PLC0415

    return merge(_job(settings, inputs, options), inputs["adapter"])


def _quantized(settings: Settings, inputs: Inputs, options: dict[str, Any]) -> Stored:
    from supply_chain.artifacts import quantize  # noqa: PLC0415

    job = _job(settings, inputs, options)
    return quantize(job, inputs["merged"], _scheme(job, options))


def _parity(settings: Settings, inputs: Inputs, options: dict[str, Any]) -> Stored:
    from supply_chain.parity import Line, check_parity  # noqa: PLC0415

    job = _job(settings, inputs, options)
    line = Line(job, inputs["adapter"], inputs["merged"], inputs["artifact"], _scheme(job, options))
    return check_parity(line, job.store)


def _baseline(settings: Settings, inputs: Inputs, options: dict[str, Any]) -> Stored:
    from evals.baselines import predict_baseline  # noqa: PLC0415

    job = _job(settings, inputs, options)
    return predict_baseline(options["contestant"], job.splits, job.recipe, settings.seed, job.store)


def _model(settings: Settings, inputs: Inputs, options: dict[str, Any]) -> Stored:
    from evals.answering import predict_model  # noqa: PLC0415
    from evals.keys import corrections_of  # noqa: PLC0415
    from supply_chain.formats.adapter import is_adapter  # noqa: PLC0415
    from supply_chain.opening import serving_compute  # noqa: PLC0415

    job, model = _job(settings, inputs, options), inputs["model"].verify()
    beside = job.base if is_adapter(model.path) else None
    return predict_model(
        options["contestant"],
        model.path,
        model.digest,
        model.size_bytes + (beside.size_bytes if beside else 0),
        job.splits,
        job.recipe,
        serving_compute(model.path, settings),
        settings.seed,
        job.store,
        corrections_of(options["contestant"], job),
        beside.path if beside else None,
    )


def _recall(settings: Settings, inputs: Inputs, options: dict[str, Any]) -> Stored:
    from evals.recall import recall  # noqa: PLC0415
    from supply_chain.opening import serving_compute  # noqa: PLC0415

    model = inputs["model"]
    return recall(model, inputs["splits"], serving_compute(model.path, settings), Store.of(settings))


def _stock(settings: Settings, inputs: Inputs, options: dict[str, Any]) -> Stored:
    from evals.stock_run import ready, run_tasks  # noqa: PLC0415
    from supply_chain.opening import serving_compute  # noqa: PLC0415

    recipe, model = Recipe.model_validate(options["recipe"]), inputs["model"]
    tasks, compute = ready(recipe.evaluate.tasks, settings), serving_compute(model.path, settings)
    return run_tasks(model, tasks, compute, settings.seed, Store.of(settings))


def _job(settings: Settings, inputs: Inputs, options: dict[str, Any]) -> Job:
    from evals.decoding import measured  # noqa: PLC0415

    recipe = Recipe.model_validate(options["recipe"])
    return Job(recipe, inputs["base"], inputs["splits"], settings, Store.of(settings), inputs.get("teacher"), measured)


def _scheme(job: Job, options: dict[str, Any]) -> Quantize:
    return next(scheme for scheme in job.recipe.quantize if scheme.name == options["scheme"])


_STAGES: dict[str, Callable[[Settings, Inputs, dict[str, Any]], Stored]] = {
    "base": _base,
    "search": _search,
    "adapter": _adapter,
    "merged": _merged,
    "quantized": _quantized,
    "parity": _parity,
    "baseline": _baseline,
    "model": _model,
    "recall": _recall,
    "stock": _stock,
}
