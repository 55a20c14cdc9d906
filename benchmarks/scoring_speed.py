"""Scores banking77's 77 labels with our engine and with lm-eval's HFLM: `python benchmarks/scoring_speed.py`.

The same model, rows, dtype and thread in one run, each engine in a process of its own, so that peak memory
is its own. Ours scores 300 test rows with the plain prompt and 60 with the instruction prompt, which lists all
labels. HFLM takes the same rows in a seeded order, in parts of `PART`, for as long as `--minutes` of each prompt
last, and at least one part; its seconds a row do not depend on how many follow. Every row that it scored is compared.
With the minutes as they are, all of it takes less than 20 minutes on one core; `--minutes 45 6` lets HFLM score all
300 with the plain prompt. Needs a base model in the state folder: `supply-chain run review_sentiment` provides it.
"""

import argparse
import json
import random
import subprocess
import sys
import time

from measure import ROOT, data_folder, read_lines, report

DTYPE, LABELS = "float32", 77  # in bfloat16 both engines round by tenths of a nat
ROWS = {"plain": 300, "instruction": 60}
PART = {"plain": 20, "instruction": 2}


def main() -> None:
    """Prints one JSON line and keeps it under `benchmarks/results/scoring_speed.json`."""
    options = argparse.ArgumentParser()
    options.add_argument("--minutes", nargs=2, type=float, default=(6, 6), help="HFLM's time for either prompt")
    options.add_argument("--measure", nargs=3, metavar=("ENGINE", "PROMPT", "MINUTES"))
    given = options.parse_args()
    if given.measure:
        engine, prompt, minutes = given.measure
        print(json.dumps(measured(engine, prompt, float(minutes))))
        return
    found = {prompt: compared(prompt, minutes) for prompt, minutes in zip(ROWS, given.minutes, strict=True)}
    report("scoring_speed", model="SmolLM2-135M-Instruct", dtype=DTYPE, threads=1, labels=LABELS, **found)


def compared(prompt: str, minutes: float) -> dict[str, object]:
    """Seconds a row, memory and answers of both engines on one prompt."""
    ours, theirs = alone("ours", prompt, 1e6), alone("hflm", prompt, minutes)
    rows = {"ours": len(ours["scores"]), "hflm": len(theirs["scores"])}
    pairs = list(zip(ours["scores"], theirs["scores"], strict=False))[: rows["hflm"]]
    same = [best(a) == best(b) for a, b in pairs]
    gaps = [abs(x - y) for a, b in pairs for x, y in zip(a, b, strict=True)]
    each = {"ours": ours["seconds"] / rows["ours"], "hflm": theirs["seconds"] / rows["hflm"]}
    return {
        "prompt_tokens": ours["prompt_tokens"],
        "rows": rows,
        "seconds_a_row": {name: round(s, 4) for name, s in each.items()},
        "times_faster": round(each["hflm"] / each["ours"], 1),
        "same_argmax": f"{sum(same)} of {len(same)}",
        "largest_gap_nats": max(gaps),
        "peak_mb": {"ours": round(ours["peak_mb"]), "hflm": round(theirs["peak_mb"])},
    }


def best(scores: list[float]) -> int:
    """The likeliest label."""
    return max(range(len(scores)), key=scores.__getitem__)


def alone(engine: str, prompt: str, minutes: float) -> dict[str, object]:
    """One engine's figures, from a process of its own."""
    command = [sys.executable, __file__, "--measure", engine, prompt, str(minutes)]
    done = subprocess.run(command, cwd=ROOT, check=True, capture_output=True, text=True)
    found: dict[str, object] = json.loads(done.stdout.splitlines()[-1])
    return found


def measured(engine: str, prompt: str, minutes: float) -> dict[str, object]:
    """Scores of every label for every row, the seconds they took and the process's peak memory.

    After `minutes` no further part of HFLM's rows begins; ours takes all rows at once, as it is used.
    """
    from lm_eval.api.instance import Instance

    from assets.project import Project
    from evals.timing import peak_memory_bytes
    from supply_chain.hub import base_key
    from supply_chain.inference import load
    from supply_chain.records import BaseModelRecord, Compute

    folder, project = data_folder("banking77"), Project.here()
    data = read_lines(folder / "test.jsonl")
    labels = sorted({row["label"].replace("_", " ") for row in data})
    texts = random.Random(17).sample([row["text"] for row in data], ROWS[prompt])
    listed = f"Sort the customer's question into one of these kinds: {'; '.join(labels)}.\n" * (prompt != "plain")
    base = project.store.find(BaseModelRecord, base_key(project.catalogue.models[0]))
    assert base is not None, "run `supply-chain run review_sentiment` first: it provides the base model"
    loaded = load(base.path, Compute(device="cpu", dtype=DTYPE, attention="sdpa", threads=1))
    pairs = [(f"{listed}{text}\nLabel:", f" {label}") for text in texts for label in labels]
    requests = [Instance("loglikelihood", {}, pair, i) for i, pair in enumerate(pairs)]
    model = engine_of(engine, loaded)
    model.loglikelihood(requests[:2], disable_tqdm=True)
    part, scores, began = len(labels) * (PART[prompt] if engine == "hflm" else len(texts)), [], time.perf_counter()
    while len(scores) < len(requests) and (not scores or time.perf_counter() - began < 60 * minutes):
        some = requests[len(scores) : len(scores) + part]
        scores += [score for score, _ in model.loglikelihood(some, disable_tqdm=True)]
    return {
        "seconds": time.perf_counter() - began,
        "scores": [scores[i : i + len(labels)] for i in range(0, len(scores), len(labels))],
        "peak_mb": peak_memory_bytes() / 1e6,
        "prompt_tokens": len(loaded.tokenizer(pairs[0][0])["input_ids"]),
    }


def engine_of(name: str, loaded):
    """Ours, or HFLM with its own shortcut for labels of one token."""
    import torch
    from lm_eval.models.huggingface import HFLM

    from evals.engine import TreeLM

    if name == "ours":
        return TreeLM(loaded)
    return HFLM(
        pretrained=loaded.model,
        tokenizer=loaded.tokenizer,
        backend="causal",
        add_bos_token=False,
        softmax_dtype=torch.float32,
        logits_cache=True,
        batch_size=16,
    )


if __name__ == "__main__":
    main()
