"""Measures the main job's acceptance figures: `python benchmarks/chain.py [--resume]`.

Runs `supply-chain run review_sentiment` in this checkout's state folder (minutes, if that was not done
before) and reads the figures from the scorecard and from Dagster's record of that run; then runs it again
(nothing to do) and with another gate threshold, and says which stages were made anew. `--resume` also
kills a short training with SIGKILL and compares the resumed adapter with an uninterrupted one, bit for bit.
"""

import argparse
import json
import os
import platform
import signal
import subprocess
import sys
import tempfile
import time
from datetime import UTC, datetime
from pathlib import Path

import dagster as dg

from assets.project import Project
from assets.run import latest
from evals.records import Scorecard
from evals.table import interval as shown

ROOT = Path(__file__).resolve().parent.parent
RECIPE = "review_sentiment"
STAGES = ("curated_data", "splits", "adapter", "merged_model", "quantized_model", "scorecard", "decision", "report")
COMMAND = [sys.executable, "-m", "assets.cli", "run"]


def main() -> None:
    """Prints one JSON line last and keeps it under `benchmarks/results/chain.json`."""
    options = argparse.ArgumentParser()
    options.add_argument("--resume", action="store_true")
    project = Project.here()
    _, code = timed(RECIPE)
    assert code == 0, "the chain did not promote"
    keys = made(project)
    again_s, _ = timed(RECIPE)
    assert made(project) == keys, "an unchanged run made something"
    card: Scorecard = latest(RECIPE, "scorecard", project).record
    figures = {
        "first_run_s": round(longest_run_s(project), 1),
        "second_run_s": round(again_s, 1),
        "training_s": round(latest(RECIPE, "adapter", project).record.seconds, 1),
        "compute": latest(RECIPE, "adapter", project).record.compute.model_dump(),
        "macro_f1": {c.name: shown(c.metric("macro_f1")) for c in card.contestants},
        "accuracy": {c.name: shown(c.metric("accuracy")) for c in card.contestants},
        "specialist_minus_tfidf": shown(card.difference("specialist", "tfidf").estimate),
        "4bit_minus_specialist": shown(card.difference("bnb-nf4", "specialist").estimate),
        "changed_by_gate_threshold": changed(project, keys, ("minimum: 0.65", "minimum: 0.66")),
    }
    if options.parse_args().resume:
        figures["resumed_adapter_is_bit_identical"] = resumed()
    line = {
        "name": "chain",
        "command": "python benchmarks/chain.py",
        "date": f"{datetime.now(UTC):%Y-%m-%d}",
        "machine": f"{platform.processor() or platform.machine()}, {os.cpu_count()} cores",
        **figures,
    }
    (ROOT / "benchmarks/results/chain.json").write_text(json.dumps(line, indent=2) + "\n")
    print(json.dumps(line))


def longest_run_s(project: Project) -> float:
    """Seconds of the run that made everything, by Dagster's own record."""
    project.dagster_home()
    with dg.DagsterInstance.get() as instance:
        records = instance.get_run_records(dg.RunsFilter(tags={"supply_chain/recipe": RECIPE}))
    return max(r.end_time - r.start_time for r in records if r.start_time and r.end_time)


def timed(*recipe: str) -> tuple[float, int]:
    """Seconds and exit code of one run of the chain."""
    began = time.monotonic()
    code = subprocess.run([*COMMAND, *recipe], cwd=ROOT, check=False).returncode
    return time.monotonic() - began, code


def made(project: Project) -> dict[str, str]:
    """Identity of what each stage last made."""
    return {stage: latest(RECIPE, stage, project).key for stage in STAGES}


def changed(project: Project, keys: dict[str, str], edit: tuple[str, str]) -> list[str]:
    """Stages that an edit of the recipe makes anew; the recipe is put back."""
    path = ROOT / f"recipes/{RECIPE}.yaml"
    text = path.read_text()
    assert edit[0] in text
    try:
        path.write_text(text.replace(*edit))
        timed(RECIPE)
        return [stage for stage, key in made(project).items() if keys[stage] != key]
    finally:
        path.write_text(text)
        timed(RECIPE)


def resumed(steps: int = 12) -> bool:
    """Whether a training that was killed amid its steps ends with the bits of one that was not."""
    with tempfile.TemporaryDirectory() as folder:
        digests = [adapter_of(Path(folder) / name, steps, kill=name == "killed") for name in ("whole", "killed")]
    return digests[0] == digests[1]


def adapter_of(folder: Path, steps: int, kill: bool) -> str:
    """SHA-256 of the adapter that a short run makes in a state folder of its own."""
    recipes = folder / "recipes"
    recipes.mkdir(parents=True)
    for path in (ROOT / "recipes").glob("*.yaml"):
        (recipes / path.name).write_text(path.read_text())
    path = recipes / f"{RECIPE}.yaml"
    path.write_text(path.read_text().replace("  epochs: 2", f"  max_steps: {steps}\n  checkpoint_steps: 3"))
    env = {
        "SUPPLY_CHAIN_HOME": str(folder / "home"),
        "SUPPLY_CHAIN_RECIPES": str(recipes),
        "SUPPLY_CHAIN_COMPUTE": "float32:sdpa:1",
    }
    share(folder / "home")
    if kill:
        run_until(folder, env, "work/*/checkpoint-6/complete.json")
    run_until(folder, env, "adapter/*/entry.json")
    (entry,) = (folder / "home/store/adapter").glob("*/entry.json")
    return str(json.loads(entry.read_text())["files"]["adapter_model.safetensors"]["sha256"])


def run_until(folder: Path, env: dict[str, str], pattern: str) -> None:
    """Runs the chain and kills it with SIGKILL as soon as a file of the store matches `pattern`."""
    process = subprocess.Popen([*COMMAND, RECIPE], cwd=ROOT, env={**os.environ, **env})
    while not list((folder / "home/store").glob(pattern)):
        assert process.poll() is None
        time.sleep(0.05)
    os.kill(process.pid, signal.SIGKILL)
    process.wait()


def share(home: Path) -> None:
    """Lends the downloaded files and the converted base model."""
    state = Project.here().settings.home
    (home / "store").mkdir(parents=True)
    (home / "downloads").symlink_to(state / "downloads")
    (home / "store/base").symlink_to(state / "store/base")


if __name__ == "__main__":
    main()
