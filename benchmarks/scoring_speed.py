"""Scores banking77's 77 labels with our engine and with lm-eval's HFLM: `python benchmarks/scoring_speed.py`.

The same model, rows, dtype and thread in one run, each engine in a process of its own, so that peak memory
is its own. Ours scores 300 test rows with the plain prompt and 60 with the instruction prompt, which lists all
labels. HFLM scores `--plain` and `--instructed` of them: its seconds a row do not depend on how many follow, and
all of them would take it hours. Needs a base model in the state folder: `supply-chain run
review_sentiment` provides it.
"""

import argparse
import json
import subprocess
import sys
import time

from measure import ROOT, data_folder, read_lines, report

DTYPE, ROWS, INSTRUCTED = "bfloat16", 300, 60


def main() -> None:
    """Prints one JSON line and keeps it under `benchmarks/results/scoring_speed.json`."""
    options = argparse.ArgumentParser()
    options.add_argument("--plain", type=int, default=ROWS)
    options.add_argument("--instructed", type=int, default=4)
    options.add_argument("--measure", nargs=3, metavar=("ENGINE", "PROMPT", "ROWS"))
    given = options.parse_args()
    if given.measure:
        engine, prompt, rows = given.measure
        print(json.dumps(measured(engine, prompt, int(rows))))
        return
    found = {
        "plain": compared("plain", ROWS, given.plain),
        "instruction": compared("instruction", INSTRUCTED, given.instructed),
    }
    report("scoring_speed", model="SmolLM2-135M-Instruct", dtype=DTYPE, threads=1, labels=77, **found)


def compared(prompt: str, our_rows: int, their_rows: int) -> dict[str, object]:
    """Seconds a row, memory and answers of both engines on one prompt."""
    ours, theirs = alone("ours", prompt, our_rows), alone("hflm", prompt, their_rows)
    pairs = list(zip(spaced(ours["scores"], their_rows), theirs["scores"], strict=True))
    same = [max(range(77), key=a.__getitem__) == max(range(77), key=b.__getitem__) for a, b in pairs]
    gaps = [abs(x - y) for a, b in pairs for x, y in zip(a, b, strict=True)]
    each = {"ours": ours["seconds"] / our_rows, "hflm": theirs["seconds"] / their_rows}
    return {
        "prompt_tokens": ours["prompt_tokens"],
        "rows": {"ours": our_rows, "hflm": their_rows},
        "seconds_a_row": {name: round(s, 4) for name, s in each.items()},
        "times_faster": round(each["hflm"] / each["ours"], 1),
        "same_argmax": f"{sum(same)} of {len(same)}",
        "largest_gap_nats": max(gaps),
        "peak_mb": {"ours": round(ours["peak_mb"]), "hflm": round(theirs["peak_mb"])},
    }


def spaced(values: list, number: int) -> list:
    """`number` values, evenly spread."""
    return [values[i * len(values) // number] for i in range(number)]


def alone(engine: str, prompt: str, rows: int) -> dict[str, object]:
    """One engine's figures, from a process of its own."""
    command = [sys.executable, __file__, "--measure", engine, prompt, str(rows)]
    done = subprocess.run(command, cwd=ROOT, check=True, capture_output=True, text=True)
    found: dict[str, object] = json.loads(done.stdout.splitlines()[-1])
    return found


def measured(engine: str, prompt: str, rows: int) -> dict[str, object]:
    """Scores of every label for every row, the seconds they took and the process's peak memory."""
    from lm_eval.api.instance import Instance

    from assets.project import Project
    from evals.timing import peak_memory_bytes
    from supply_chain.hub import base_key
    from supply_chain.inference import load
    from supply_chain.records import BaseModelRecord, Compute

    folder, project = data_folder("banking77"), Project.here()
    data = read_lines(folder / "test.jsonl")
    labels = sorted({row["label"].replace("_", " ") for row in data})
    texts = spaced(spaced([row["text"] for row in data], ROWS), rows)
    listed = f"Sort the customer's question into one of these kinds: {'; '.join(labels)}.\n" * (prompt != "plain")
    base = project.store.find(BaseModelRecord, base_key(project.catalogue.models[0]))
    assert base is not None, "run `supply-chain run review_sentiment` first: it provides the base model"
    loaded = load(base.path, Compute(device="cpu", dtype=DTYPE, attention="sdpa", threads=1))
    pairs = [(f"{listed}{text}\nLabel:", f" {label}") for text in texts for label in labels]
    requests = [Instance("loglikelihood", {}, pair, i) for i, pair in enumerate(pairs)]
    model = engine_of(engine, loaded)
    model.loglikelihood(requests[:2], disable_tqdm=True)
    began = time.perf_counter()
    scores = [score for score, _ in model.loglikelihood(requests, disable_tqdm=True)]
    seconds = time.perf_counter() - began
    return {
        "seconds": seconds,
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
