"""Every format of two specialists: how long it takes to make, and its size, quality, loss and speed as it serves.

    python benchmarks/artifacts.py [--rows 300] [--only review_sentiment]

Each artifact answers the test rows by its own runtime in a process of its own, one thread, from its files alone.
"""

import argparse
import pickle
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

from measure import ROOT, report
from specialist import BANKING77, Made, banking77, make

from evals.answering import predict_model
from evals.scorecard import score
from supply_chain.artifacts import quantize
from supply_chain.catalogue import load_catalogue
from supply_chain.data.curate import curate
from supply_chain.data.source import locate
from supply_chain.data.split import split
from supply_chain.hub import provide_base
from supply_chain.job import Job
from supply_chain.opening import serving_compute
from supply_chain.parity import Line, check_parity
from supply_chain.recipe import load_recipe
from supply_chain.recipe.quantize import BnbNf4, Gguf, Quantize
from supply_chain.records import Predictions
from supply_chain.settings import load_settings
from supply_chain.store import Store, Stored

NF4 = BnbNf4(scheme="bnb-nf4")
GGUF = [Gguf.model_validate({"scheme": "gguf", "type": kind}) for kind in ("f16", "q8_0", "q4_0", "q4_k_m")]


def review_sentiment() -> Job:
    """The job of the recipe that the repository ships."""
    settings = load_settings()
    recipe, store = load_recipe(ROOT / "recipes/review_sentiment.yaml"), Store.of(settings)
    source = locate(recipe.data.source, settings.downloads, ROOT)
    splits = split(curate(recipe.data, source, store), recipe.data.split, settings.seed, store)
    base = provide_base(load_catalogue(settings).get(recipe.base), settings.downloads, store)
    return Job(recipe, base, splits, settings, store)


def with_formats(job: Job, schemes: list[Quantize], rows: int | None) -> Job:
    """The job with these formats, evaluated on a sample of the test rows."""
    evaluate = job.recipe.evaluate.model_copy(update={"baselines": [], "max_rows": rows, "escalation": None})
    recipe = job.recipe.model_copy(update={"quantize": schemes, "evaluate": evaluate})
    return Job(recipe, job.base, job.splits, job.settings, job.store)


def answered(job: Job, name: str, model: Stored[Any]) -> Stored[Predictions]:
    """The contestant's answers, made in a process of its own."""
    work = job.store.root / "tmp"
    work.mkdir(parents=True, exist_ok=True)
    (work / "sitting.pickle").write_bytes(pickle.dumps((job, name, model)))
    subprocess.run([sys.executable, __file__, "--answer", str(work / "sitting.pickle")], check=True)
    return _answer(job, name, model)


def _answer(job: Job, name: str, model: Stored[Any]) -> Stored[Predictions]:
    compute = serving_compute(model.path, job.settings)
    told = (job.splits, job.recipe, compute, job.settings.seed, job.store)
    return predict_model(name, model.verify().path, model.digest, model.size_bytes, *told)


def table(made: Made, job: Job) -> list[dict[str, Any]]:
    """One row a format, full precision first."""
    seconds, found = {}, {"base": job.base, "specialist": made.merged}
    shifts = {}
    for scheme in job.recipe.quantize:
        start = time.process_time()
        found[scheme.name] = quantize(job, made.merged, scheme)
        seconds[scheme.name] = time.process_time() - start
        parity = check_parity(Line(job, made.trained, made.merged, found[scheme.name], scheme), job.store)
        shifts[scheme.name] = {f.name: f.measured for f in parity.record.findings if f.measured is not None}
    answers = [answered(job, name, model) for name, model in found.items()]
    first = job.recipe.quantize[0].name
    card = score(job.recipe, job.splits, answers, first, job.settings.seed, job.store).record
    hops = {d.contestant: d.estimate for d in card.hops}
    rows = []
    for c in card.contestants:
        quality, hop = c.metrics["accuracy"], hops.get(c.name)
        rows.append(
            {
                "format": c.name,
                "size_mb": round(c.size_bytes / 1e6, 1),
                "made_in_cpu_seconds": round(seconds.get(c.name, 0.0), 1),
                "accuracy": [round(x, 3) for x in (quality.mean, quality.low, quality.high)],
                f"change_of_{card.metric}": [round(x, 4) for x in (hop.mean, hop.low, hop.high)] if hop else None,
                "decisions_per_second_single": round(1000 / c.p50_ms, 2),
                "decisions_per_second_batched": round(c.decisions_per_second, 2),
                "load_seconds": round(c.load_seconds, 2),
                "peak_memory_mb": round(c.peak_memory_bytes / 1e6),
                "parity": shifts.get(c.name),
            }
        )
        print(rows[-1], flush=True)
    return rows


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int)
    parser.add_argument("--only", choices=["review_sentiment", "banking77"])
    parser.add_argument("--answer", type=Path, help=argparse.SUPPRESS)
    told = parser.parse_args()
    if told.answer:
        _answer(*pickle.loads(told.answer.read_bytes()))
        return
    jobs = {"review_sentiment": (review_sentiment, [NF4, *GGUF]), "banking77": (lambda: banking77(BANKING77), [NF4])}
    found = {}
    for name, (job_of, schemes) in jobs.items():
        if told.only in (None, name):
            job = with_formats(job_of(), schemes, told.rows)
            found[name] = table(make(job), job)
    report("artifacts", rows=told.rows, tables=found, ratios=_ratios(found))


def _ratios(found: dict[str, list[dict[str, Any]]]) -> dict[str, float]:
    """Single-request speed of each format against full precision in transformers."""
    ratios = {}
    for name, rows in found.items():
        speed = {row["format"]: row["decisions_per_second_single"] for row in rows}
        ratios |= {f"{name}, {kind}": round(v / speed["specialist"], 2) for kind, v in speed.items()}
    return ratios


if __name__ == "__main__":
    main()
