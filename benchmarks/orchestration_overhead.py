"""What orchestration costs: `python -m benchmarks.orchestration_overhead --trained HOME [--recipes N] [--rounds N]`.

The chain of a recipe through Dagster (`supply-chain run`'s own path, heavy stages in worker processes) against the
same functions called one after the other by a plain script in one process. Each side gets a folder of its own that
holds nothing but the downloads, the base model and the trained weights of HOME (a project's `.supply_chain` in which
the recipe was run): training is left out of both, every other stage is done. The sides take turns. Then the plan of
N recipes of which every asset is up to date (`supply-chain explain`), in a process of its own.
"""

import argparse
import json
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from benchmarks.measure import ROOT, report

SIDES = ("script", "dagster")
_KEPT = ("downloads", "store/base", "store/adapter")


def main() -> None:
    """Prints the figures and keeps them in `benchmarks/results/orchestration_overhead.json`."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--trained", type=Path, help="a state folder in which the recipe was run")
    parser.add_argument("--recipe", default="review_sentiment")
    parser.add_argument("--rounds", type=int, default=1)
    parser.add_argument("--recipes", type=int, default=300, help="of the plan; 0 leaves it out")
    parser.add_argument("--side", choices=SIDES, help=argparse.SUPPRESS)
    asked = parser.parse_args()
    if asked.side:
        print(json.dumps(script(asked.recipe) if asked.side == "script" else dagster(asked.recipe)))
        return
    if asked.trained is None or not (asked.trained / "store/adapter").is_dir():
        parser.error(f"--trained: run `supply-chain run {asked.recipe}` first, then name its state folder")
    rounds = [{side: one(side, asked.recipe, asked.trained) for side in SIDES} for _ in range(asked.rounds)]
    totals = {side: statistics.median(r[side]["total_s"] for r in rounds) for side in SIDES}
    plan = noop_plan(asked.recipes) if asked.recipes else None
    report(
        "orchestration_overhead",
        recipe=asked.recipe,
        seconds=totals,
        ratio=round(totals["dagster"] / totals["script"], 3),
        at_most=1.10,
        steps={side: rounds[-1][side]["steps"] for side in SIDES},
        noop_plan=plan,
    )


def one(side: str, recipe: str, trained: Path) -> dict[str, Any]:
    """Seconds of one side in a process and a folder of its own; starting Python and its imports count."""
    with tempfile.TemporaryDirectory(dir=trained.parent) as folder:
        for name in _KEPT:
            shutil.copytree(trained / name, Path(folder) / name, copy_function=os.link)
        environment = {**os.environ, "SUPPLY_CHAIN_HOME": folder, "DAGSTER_HOME": f"{folder}/dagster"}
        command = [sys.executable, "-m", "benchmarks.orchestration_overhead", "--side", side, "--recipe", recipe]
        began = time.perf_counter()
        done = subprocess.run(command, cwd=ROOT, env=environment, check=True, stdout=subprocess.PIPE, text=True)
        total = time.perf_counter() - began
    return {"total_s": round(total, 2), "steps": json.loads(done.stdout.splitlines()[-1])}


def script(name: str) -> dict[str, float]:
    """Seconds of each step of the chain, called in this process."""
    began, steps = time.perf_counter(), {}

    @contextmanager
    def step(label: str) -> Iterator[None]:
        start = time.perf_counter()
        yield
        steps[label] = round(time.perf_counter() - start, 2)

    with step("start"):
        from assets.project import Project

        project = Project.here()
        recipe = project.recipe(name)
    chain(project, recipe, step)
    return {**steps, "all": round(time.perf_counter() - began, 2)}


def chain(project: Any, recipe: Any, step: Callable[[str], Any]) -> None:  # noqa: PLR0915 (one step after the other)
    """The functions that the assets call, in their order."""
    from evals.answering import predict_model
    from evals.baselines import predict_baseline
    from evals.choice import choose
    from evals.judgement import try_all
    from evals.keys import corrections_of
    from evals.report import render_report
    from evals.scorecard import Beside, score
    from registry.gate import judge, verdict
    from registry.release import register
    from supply_chain.artifacts import merge, quantize
    from supply_chain.data.curate import curate
    from supply_chain.data.report import stored_card
    from supply_chain.data.source import locate
    from supply_chain.data.split import split
    from supply_chain.hub import provide_base
    from supply_chain.job import Job
    from supply_chain.keys import adapter_key
    from supply_chain.opening import serving_compute
    from supply_chain.parity import Line, check_parity
    from supply_chain.records import Trained

    settings, store = project.settings, project.store
    with step("base_model"):
        base = provide_base(project.catalogue.get(recipe.base), settings.downloads, store, None)
    with step("curated_data"):
        data = curate(recipe.data, locate(recipe.data.source, settings.downloads, settings.root), store)
    with step("splits"):
        splits = split(data, recipe.data.split, settings.seed, store)
    with step("data_card"):
        stored_card(data, splits, store)
    job = Job(recipe, base, splits, settings, store)
    trained = store.find(Trained, adapter_key(job))
    assert trained is not None, "HOME holds another training: run the recipe with this version of the code"
    with step("merged_model"):
        merged = merge(job, trained)
    with step("artifacts"):
        made = [quantize(job, merged, scheme) for scheme in recipe.quantize]
    with step("parity"):
        for scheme, artifact in zip(recipe.quantize, made, strict=True):
            check_parity(Line(job, trained, merged, artifact, scheme), store)
    with step("predictions"):
        answers = [predict_baseline(b, splits, recipe, settings.seed, store) for b in recipe.evaluate.baselines]
        models = {"base": base, "specialist": merged, **{a.record.format: a for a in made}}
        for title, model in models.items():
            compute = serving_compute(model.verify().path, settings)
            told = (title, model.path, model.digest, model.size_bytes)
            asked = corrections_of(title, job)
            answers.append(predict_model(*told, splits, recipe, compute, settings.seed, store, asked))
    with step("scorecard"):
        candidate = choose(recipe, splits, answers, settings.seed).contestant
        beside = Beside(try_all(recipe, splits, answers, settings, store), None)
        card = score(recipe, splits, answers, candidate, settings.seed, store, beside)
    with step("decision"):
        judged = judge(recipe.promote, card, store)
    model = next(a for a in made if a.record.format == candidate)
    with step("report"):
        named = {"curated_data": data, "splits": splits, "base": base, "adapter": trained, "merged_model": merged}
        named |= {"quantized_model": model, "scorecard": card, "decision": judged}
        lineage = {name: stored.digest for name, stored in named.items()}
        told = render_report(recipe=recipe, scorecard=card, splits=splits, verdict=verdict(judged.record),
                             decision_digest=judged.digest, lineage=lineage, store=store)  # fmt: skip
    with step("registered_model"):
        release = register(recipe, model, card, judged, told, trained.record.tracking_run, settings, store)
    with step("champion"):
        project.desk.promote(release)
    with step("routing_manifest"):
        project.desk.publish()


def dagster(name: str) -> dict[str, float]:
    """Seconds of each step by Dagster's own events."""
    began = time.perf_counter()
    import dagster as dg

    from assets.project import Project
    from assets.run import run_manifest, run_recipe

    project = Project.here()
    outcomes = [run_recipe(project.recipe(name), project), run_manifest(project)]
    assert all(outcome.failed is None for outcome in outcomes), outcomes
    total = time.perf_counter() - began
    with dg.DagsterInstance.get() as instance:
        found = [s for outcome in outcomes for s in instance.get_run_step_stats(outcome.run_id)]
    steps = {s.step_key.rpartition("__")[2]: round(s.end_time - s.start_time, 2) for s in found}
    return {**steps, "all": round(total, 2)}


def noop_plan(count: int) -> dict[str, Any]:
    """Seconds of `supply-chain explain` for `count` recipes whose every asset is up to date."""
    from benchmarks.fleet_300 import project, timed

    with tempfile.TemporaryDirectory() as folder:
        settings = project(Path(folder), count)
        found = timed([sys.executable, "-m", "assets.cli", "explain", "--json"], settings)
        rows = json.loads(str(found.pop("output")))
        assert rows and all(row["run"] == "no" for row in rows), next(row for row in rows if row["run"] == "yes")
    return {"recipes": count, "assets": len(rows), **found, "at_most_s": 10}


if __name__ == "__main__":
    main()
