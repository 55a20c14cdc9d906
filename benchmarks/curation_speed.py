"""Rows a second of the whole default rule set, and of near-duplicate removal beside semhash and datatrove.

All in one process, one after the other. `--rows N` sets the size of the first part, `--beside N` of the second.
Rows a second of the processor's time say more on a machine that others use too; `load_before` tells whether they did.
semhash embeds with model2vec's own class, holding WordLlama's static vectors, since its default model is on a hub.
"""

import argparse
import logging
import os
import tempfile
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import polars as pl
import xxhash
from measure import report
from near_duplicates import edited
from rows_made import joined, write

from supply_chain.data.curate import curate
from supply_chain.data.near import near_links
from supply_chain.data.source import locate
from supply_chain.recipe.data import DataSpec
from supply_chain.recipe.rules import NearDuplicates
from supply_chain.store import Store


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--rows", type=int, default=1_000_000)
    parser.add_argument("--beside", type=int, default=20_000)
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        whole = curation(Path(name), args.rows)
    report("curation_speed", **whole, near_duplicates=beside(args.beside))


def curation(root: Path, rows: int) -> dict[str, object]:
    write(root / "rows.jsonl", rows)
    spec = DataSpec.model_validate({"source": {"kind": "path", "path": "rows.jsonl"}, "license": "CC-BY-4.0"})
    load, start, cpu = os.getloadavg()[0], time.perf_counter(), time.process_time()
    made = curate(spec, locate(spec.source, root / "downloads", root), Store(root / "store"))
    seconds = time.perf_counter() - start
    return {
        "rows": made.record.rows_read, "rows_per_second": round(rows / seconds), "seconds": round(seconds, 1),
        "rows_per_cpu_second": round(rows / (time.process_time() - cpu)), "load_before": round(load, 1),
        "rules": "default: schema, length, exact and near duplicates, contradictions, class counts; no PII",
        "kept": made.record.rows_kept, "rejects": made.record.rejects, "clusters": made.record.clusters,
    }  # fmt: skip


def beside(rows: int) -> dict[str, dict[str, Any]]:
    """The same texts, with one copy in twenty rows, to each tool; recall and precision of what it removes."""
    import random

    rng = random.Random(5)
    texts = list(dict.fromkeys(r["text"] for r in joined(rows * 2, seed=3) if len(r["text"]) < 400))[:rows]
    words = sorted({w for t in texts for w in t.lower().split() if w.isalpha()})
    sources = rng.sample(range(len(texts)), len(texts) // 20)
    kinds = ("case", "punctuation", "one word", "word order")
    copies = [edited(texts[s], kinds[n % 4], words, rng) for n, s in enumerate(sources)]
    every = texts + copies
    pairs = [(s, len(texts) + n) for n, s in enumerate(sources)]
    tools: dict[str, Callable[[list[str]], set[int]]] = {
        **{f"ours, similarity {s}": partial(ours, similarity=s) for s in (0.8, 0.85, 0.9, 0.92)},
        "semhash, threshold 0.9 (default)": lambda t: semhash(t, 0.9),
        "semhash, threshold 0.8": lambda t: semhash(t, 0.8),
        "datatrove MinHash (defaults: 5-grams)": lambda t: datatrove(t, 5),
        "datatrove MinHash (1-grams)": lambda t: datatrove(t, 1),
    }
    figures: dict[str, dict[str, Any]] = {}
    for name, remove in tools.items():
        remove(every[:500])
        start = time.perf_counter()
        gone = remove(every)
        seconds = time.perf_counter() - start
        involved = {row for pair in pairs for row in pair}
        figures[name] = {
            "rows_per_second": round(len(every) / seconds),
            "recall": round(sum(a in gone or b in gone for a, b in pairs) / len(pairs), 4),
            "precision": round(len(gone & involved) / max(1, len(gone)), 4),
            "removed": len(gone),
        }
        print(name, figures[name])
    for name in [n for n in figures if not n.startswith("ours")]:
        figures[name]["matched_by"] = matched(figures, name)
    return figures


def matched(figures: dict[str, dict[str, Any]], peer: str) -> dict[str, float]:
    """Our settings with at least the peer's recall and precision, and how many times its rows a second."""
    theirs = figures[peer]
    return {
        name: round(mine["rows_per_second"] / theirs["rows_per_second"], 1)
        for name, mine in figures.items()
        if name.startswith("ours") and all(mine[x] >= theirs[x] for x in ("recall", "precision"))
    }


def ours(texts: list[str], similarity: float) -> set[int]:
    links = near_links(pl.Series(texts), NearDuplicates(similarity=similarity))
    gone: set[int] = set()
    for one, other in zip(links.left.tolist(), links.right.tolist(), strict=True):
        if one not in gone:
            gone.add(other)
    return gone


def semhash(texts: list[str], threshold: float) -> set[int]:
    from semhash import SemHash

    records = [{"text": t, "row": str(n)} for n, t in enumerate(texts)]
    hashed = SemHash.from_records(records, columns=["text"], model=static_model())
    kept = {int(r["row"]) for r in hashed.self_deduplicate(threshold=threshold).selected}
    return set(range(len(texts))) - kept


def static_model() -> object:
    import wordllama
    from model2vec import StaticModel

    llama = wordllama.WordLlama.load(cache_dir=Path(str(wordllama.__file__)).parent, disable_download=True)
    return StaticModel(llama.embedding, llama.tokenizer)


def datatrove(texts: list[str], grams: int) -> set[int]:
    from datatrove.data import Document
    from datatrove.pipeline.dedup import (
        MinhashConfig,
        MinhashDedupBuckets,
        MinhashDedupCluster,
        MinhashDedupFilter,
        MinhashDedupSignature,
    )
    from datatrove.utils.hashes import xxhash as hashes
    from loguru import logger

    logger.remove()
    # datatrove 0.10.1 hands strings to xxhash, which since version 4 takes bytes only.
    hashes.xxhash = SimpleNamespace(xxh64_intdigest=lambda text: xxhash.xxh64_intdigest(text.encode()))
    logging.disable(logging.WARNING)
    config = MinhashConfig(n_grams=grams)
    documents = [Document(text=t, id=str(n)) for n, t in enumerate(texts)]
    with tempfile.TemporaryDirectory() as root:
        MinhashDedupSignature(f"{root}/signatures", config=config).run(iter(documents), rank=0, world_size=1)
        for bucket in range(config.num_buckets):
            MinhashDedupBuckets(f"{root}/signatures", f"{root}/buckets", config=config).run(
                rank=bucket, world_size=config.num_buckets
            )
        MinhashDedupCluster(f"{root}/buckets", f"{root}/gone", config=config).run()
        kept = MinhashDedupFilter(f"{root}/gone").run(iter(documents), rank=0, world_size=1)
        left = {int(d.id) for d in kept}
    return set(range(len(texts))) - left


if __name__ == "__main__":
    main()
