"""Every format of a specialist: how long it takes to make, its size, quality, loss and speed as it serves.

    python benchmarks/artifacts.py review_sentiment [--rows 300]
    python benchmarks/artifacts.py banking77

Each artifact answers the test rows by its own runtime in a process of its own, one thread, from its files alone.
Single requests are timed apart from that, all formats in turn in one process, so that each meets the same machine.
What a home folder holds already is not made again, and then has no time: set SUPPLY_CHAIN_HOME to one with the
specialist and without its formats.
"""

import argparse
import json
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path
from typing import Any, get_args

import numpy as np
from measure import ROOT, report
from pydantic import ValidationError
from specialist import BANKING77, Made, banking77, make

from evals.answering import predict_model
from evals.keys import model_key
from evals.records import Scorecard
from evals.scorecard import score
from supply_chain.answer import Answerer
from supply_chain.artifacts import quantize
from supply_chain.catalogue import load_catalogue
from supply_chain.data.curate import curate
from supply_chain.data.examples import read_split
from supply_chain.data.source import locate
from supply_chain.data.split import split
from supply_chain.errors import Unavailable
from supply_chain.formats.adapter import is_adapter
from supply_chain.formats.extras import check_extras
from supply_chain.hub import provide_base
from supply_chain.job import Job
from supply_chain.job_file import read_job, write_job
from supply_chain.keys import quantized_key
from supply_chain.opening import serving_compute
from supply_chain.parity import Line, check_parity
from supply_chain.recipe import Recipe, load_recipe
from supply_chain.recipe.quantize import Quantize
from supply_chain.records import Artifact, BaseModelRecord, Predictions
from supply_chain.settings import load_settings
from supply_chain.store import Store, Stored
from supply_chain.unmerged import unmerged

NF4 = {"scheme": "bnb-nf4"}
KINDS = {kind.kind: kind for kind in (Artifact, BaseModelRecord)}


def review_sentiment() -> Job:
    """The job of the recipe that the repository ships."""
    settings = load_settings()
    catalogue, store = load_catalogue(settings), Store.of(settings)
    recipe = load_recipe(ROOT / "recipes/review_sentiment.yaml", catalogue.surroundings(ROOT))
    source = locate(recipe.data.source, settings.downloads, ROOT)
    splits = split(curate(recipe.data, source, store), recipe.data.split, settings.seed, store)
    return Job(recipe, provide_base(catalogue.get(recipe.base), settings.downloads, store), splits, settings, store)


def all_schemes() -> list[dict[str, str]]:
    """Every scheme that a recipe may name, in every type that it has."""
    found = []
    for variant in get_args(get_args(Quantize)[0]):
        (scheme,) = get_args(variant.model_fields["scheme"].annotation)
        types = get_args(variant.model_fields["type"].annotation) if "type" in variant.model_fields else ()
        found += [{"scheme": scheme, "type": kind} for kind in types] or [{"scheme": scheme}]
    return found


def with_formats(job: Job, rows: int | None) -> tuple[Job, dict[str, str]]:
    """The job with every format that fits its model and runs here, measured in accuracy; why others are left out."""
    told = job.recipe.model_dump(mode="json")
    told["evaluate"] |= {"metric": "accuracy", "baselines": [], "max_rows": rows, "escalation": None}
    told["promote"] |= {"beats": []}
    schemes, left_out = [NF4], {}
    for scheme in all_schemes():
        try:
            check_extras(Recipe.model_validate({**told, "quantize": [NF4, *([scheme] if scheme != NF4 else [])]}))
            schemes += [scheme] if scheme != NF4 else []
        except (ValidationError, Unavailable) as error:
            left_out[" ".join(scheme.values())] = str(error).splitlines()[-1 if isinstance(error, Unavailable) else 1]
    return replace(job, recipe=Recipe.model_validate({**told, "quantize": schemes})), left_out


def made(job: Job, of: Made, scheme: Quantize) -> tuple[Stored[Artifact], float | None]:
    """The artifact, and the CPU seconds that quantizing it and calibrating its confidences took; None if found."""
    if not scheme.alone:
        return unmerged(job, of.trained, of.merged), None
    there, start = job.store.find(Artifact, quantized_key(job, of.merged, scheme)), time.process_time()
    found = quantize(job, of.merged, scheme)
    return found, None if there else round(time.process_time() - start, 1)


def answered(job: Job, name: str, model: Stored[Any]) -> Stored[Predictions]:
    """The contestant's answers, made in a process of its own."""
    _apart(job, "answer", {name: model})
    stored = job.store.find(Predictions, model_key(name, model.digest, job))
    assert stored is not None
    return stored


def raced(job: Job, models: dict[str, Stored[Any]]) -> dict[str, float]:
    """Median milliseconds of a single request by format, all formats in turn, in one process."""
    return json.loads(_apart(job, "race", models).splitlines()[-1])


def _apart(job: Job, what: str, models: dict[str, Stored[Any]]) -> str:
    path = job.store.root / "tmp" / "artifacts-job.json"
    write_job(job, path)
    named = [f"{name}={model.record.kind}={model.key}" for name, model in models.items()]
    command = [sys.executable, __file__, job.recipe.name, f"--{what}", str(path), *named]
    return subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout


def _answer(job: Job, name: str, model: Stored[Any]) -> None:
    base = job.base if is_adapter(model.path) else None
    size = model.size_bytes + (base.size_bytes if base else 0)
    compute = serving_compute(model.path, job.settings)
    told = (job.splits, job.recipe, compute, job.settings.seed, job.store)
    predict_model(name, model.verify().path, model.digest, size, *told, base=base.path if base else None)


def _race(job: Job, models: dict[str, Stored[Any]]) -> dict[str, float]:
    texts = [row.text for row in read_split(job.splits, "test")[: job.recipe.evaluate.latency_rows]]
    answerers = {n: Answerer(m.path, *([job.base.path] if is_adapter(m.path) else [])) for n, m in models.items()}
    spent: dict[str, list[float]] = {name: [] for name in models}
    for text in [*texts[:3], *texts]:
        for name, answerer in answerers.items():
            start = time.perf_counter()
            answerer.answer([text])
            spent[name].append(1000 * (time.perf_counter() - start))
    return {name: round(float(np.median(found[3:])), 2) for name, found in spent.items()}


def table(of: Made, job: Job) -> list[dict[str, Any]]:
    """One row a contestant, the base first."""
    found: dict[str, Stored[Any]] = {"base": job.base, "specialist": of.merged}
    seconds, parity = {}, {}
    for scheme in job.recipe.quantize:
        found[scheme.name], seconds[scheme.name] = made(job, of, scheme)
        line = Line(job, of.trained, of.merged, found[scheme.name], scheme)
        checked = check_parity(line, job.store).record.findings
        parity[scheme.name] = {f.name: round(f.measured, 4) for f in checked if f.measured is not None}
    speed = raced(job, {name: model for name, model in found.items() if name != "base"})
    answers = [answered(job, name, model) for name, model in found.items()]
    card = score(job.recipe, job.splits, answers, job.recipe.candidates[0].name, job.settings.seed, job.store).record
    bits = {"base": 16, "specialist": 16, **{scheme.name: scheme.bits for scheme in job.recipe.quantize}}
    return [
        {
            "format": c.name,
            "bits": bits[c.name],
            "size_mb": round(c.size_bytes / 1e6, 1),
            "made_in_cpu_seconds": seconds.get(c.name),
            **{name: _shown(estimate) for name, estimate in c.metrics.items()},
            "hop": _hop(card, c.name),
            "single_request_ms": speed.get(c.name),
            "decisions_per_second_single": round(1000 / speed[c.name], 2) if c.name in speed else None,
            "decisions_per_second_batched": round(c.decisions_per_second, 2),
            "load_seconds": round(c.load_seconds, 2),
            "peak_memory_mb": round(c.peak_memory_bytes / 1e6),
            "parity": parity.get(c.name),
        }
        for c in card.contestants
    ]


def _hop(card: Scorecard, name: str) -> dict[str, Any] | None:
    hop = next((d for d in card.hops if d.contestant == name), None)
    if hop is None:
        return None
    return {"from": hop.against, "change_of_accuracy": _shown(hop.estimate), "wins": hop.wins, "losses": hop.losses}


def _shown(estimate: Any) -> list[float]:
    return [round(value, 4) for value in (estimate.mean, estimate.low, estimate.high)]


def accepted(rows: list[dict[str, Any]]) -> dict[str, Any]:
    """The best 4-bit format's loss of accuracy in points, and Q4_K_M's speed against bf16 in transformers."""
    by_name = {row["format"]: row for row in rows}
    full, best = by_name["specialist"], max((r for r in rows if r["bits"] == 4), key=lambda r: r["accuracy"][0])
    ratios = {
        name: round(row["decisions_per_second_single"] / full["decisions_per_second_single"], 2)
        for name, row in by_name.items()
        if row["decisions_per_second_single"]
    }
    return {
        "best_4_bit": best["format"],
        "points_lost": round(100 * (full["accuracy"][0] - best["accuracy"][0]), 2),
        "single_request_speed_against_bf16": ratios,
    }


def main() -> None:
    jobs = {"review_sentiment": review_sentiment, "banking77": lambda: banking77(BANKING77)}
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("specialist", choices=jobs)
    parser.add_argument("--rows", type=int, help="a sample of the test rows")
    parser.add_argument("--answer", type=Path, help=argparse.SUPPRESS)
    parser.add_argument("--race", type=Path, help=argparse.SUPPRESS)
    parser.add_argument("models", nargs="*", help=argparse.SUPPRESS)
    told = parser.parse_args()
    if told.answer or told.race:
        job = read_job(told.answer or told.race)
        named = [text.split("=") for text in told.models]
        models = {name: job.store.find(KINDS[kind], key) for name, kind, key in named}
        if told.race:
            print(json.dumps(_race(job, models)))
        else:
            _answer(job, *next(iter(models.items())))
        return
    job, left_out = with_formats(jobs[told.specialist](), told.rows)
    of = make(job)
    rows = table(of, job)
    name = f"artifacts_{told.specialist}"
    report(name, trained=of.told(), table=rows, acceptance=accepted(rows), left_out=left_out)


if __name__ == "__main__":
    main()
