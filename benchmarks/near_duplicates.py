"""Near duplicates: 1,000 edited copies planted in banking77's training texts, and copies planted across splits.

Recall: copies that end in their source's cluster. Precision: of the pairs with a planted copy, those that tie it to
its source or to what was a near duplicate of the source before planting. Pairs without a planted copy are the data's
own; the share of them with equal intents is given beside it.
"""

import random
import re
import tempfile
import time
from collections import Counter
from pathlib import Path

import numpy as np
import polars as pl
from measure import data_folder, read_lines, report
from rapidfuzz import fuzz, process

from supply_chain.data.curate import curate
from supply_chain.data.embeddings import embed
from supply_chain.data.examples import read_split
from supply_chain.data.near import near_links
from supply_chain.data.source import locate
from supply_chain.data.split import split
from supply_chain.data.table import read_table
from supply_chain.recipe.data import DataSpec, SplitSpec
from supply_chain.recipe.rules import NearDuplicates
from supply_chain.records import Reject
from supply_chain.store import Store

COPIES = 1000
RULE = NearDuplicates()


def main() -> None:
    folder = data_folder("banking77")
    train, test = read_lines(folder / "train.jsonl"), read_lines(folder / "test.jsonl")
    rng = random.Random(17)
    planted = plant([r["text"] for r in train], rng)
    texts = [r["text"] for r in train] + [copy for _, copy, _ in planted]
    start = time.perf_counter()
    links = near_links(pl.Series(texts), RULE)
    seconds = time.perf_counter() - start
    pairs = set(zip(links.left.tolist(), links.right.tolist(), strict=True))
    clusters = links.clusters(len(texts))
    hit = [clusters[s] > 0 and clusters[s] == clusters[len(train) + n] for n, (s, _, _) in enumerate(planted)]
    direct = [(s, len(train) + n) in pairs for n, (s, _, _) in enumerate(planted)]
    kinds = Counter(kind for _, _, kind in planted)
    found = Counter(kind for (_, _, kind), ok in zip(planted, hit, strict=True) if ok)
    right, wrong, own = judged(pairs, planted, [r["text"] for r in train])
    alike = [train[a]["label"] == train[b]["label"] for a, b in own]
    report(
        "near_duplicates",
        rows=len(texts), planted=dict(kinds), rule=RULE.model_dump(),
        recall=round(float(np.mean(hit)), 4), recall_of_the_very_pair=round(float(np.mean(direct)), 4),
        recall_by_edit={k: round(found[k] / kinds[k], 4) for k in kinds},
        precision=round(right / (right + wrong), 4), pairs_with_a_planted_copy=right + wrong,
        own_pairs=len(own), own_pairs_with_equal_intent=round(float(np.mean(alike)), 4),
        rows_per_second=round(len(texts) / seconds),
        **across(train, test, rng),
        share_of_train_this_close_in_meaning_to_test=close([r["text"] for r in train], [r["text"] for r in test]),
    )  # fmt: skip


def plant(texts: list[str], rng: random.Random) -> list[tuple[int, str, str]]:
    """(source, copy, edit) of copies of texts with at least five words."""
    vocabulary = sorted({w for t in texts for w in re.findall(r"[a-z]{3,}", t.lower())})
    long = [n for n, t in enumerate(texts) if len(t.split()) >= 5]
    kinds = ("case", "punctuation", "one word", "word order")
    return [
        (n, edited(texts[n], kinds[i % 4], vocabulary, rng), kinds[i % 4])
        for i, n in enumerate(rng.sample(long, COPIES))
    ]


def edited(text: str, kind: str, vocabulary: list[str], rng: random.Random) -> str:
    words = text.split()
    if kind == "case":
        return rng.choice([text.upper(), text.lower(), text.title()])
    if kind == "punctuation":
        return rng.choice([re.sub(r"[^\w\s]", "", text), text.rstrip(".?!") + "!!", ", ".join(words), f"- {text} ..."])
    place = rng.randrange(len(words))
    if kind == "one word":
        how = rng.choice(["replace", "drop", "add"])
        words[place : place + (how != "add")] = [] if how == "drop" else [rng.choice(vocabulary)]
        return " ".join(words)
    word = words.pop(place)
    words.insert(rng.choice([p for p in range(len(words) + 1) if p != place]), word)
    return " ".join(words)


def judged(
    pairs: set[tuple[int, int]], planted: list[tuple[int, str, str]], texts: list[str]
) -> tuple[int, int, list[tuple[int, int]]]:
    """Right and wrong pairs with a planted copy, and the pairs that the data had before."""
    before = near_links(pl.Series(texts), RULE).clusters(len(texts))
    source = {len(texts) + n: s for n, (s, _, _) in enumerate(planted)}
    right, own = 0, []
    for one, other in pairs:
        if one < len(texts) and other < len(texts):
            own.append((one, other))
            continue
        a, b = source.get(one, one), source.get(other, other)
        right += bool(a == b or before[a] == before[b] > 0)
    return right, len(pairs) - len(own) - right, own


def plain(text: str) -> str:
    return re.sub(r"[^\w]+", " ", text.lower().replace("'", ""))


def across(train: list[dict[str, str]], test: list[dict[str, str]], rng: random.Random) -> dict[str, object]:
    """Copies of test texts planted in train, and test texts that stand in train as published."""
    leaks = plant([r["text"] for r in test], rng)[:300]
    with tempfile.TemporaryDirectory() as name:
        root = Path(name)
        rows = train + [{"text": copy, "label": test[n]["label"]} for n, copy, _ in leaks]
        write(root / "train.jsonl", rows)
        write(root / "test.jsonl", test)
        spec = DataSpec.model_validate(
            {
                "source": {"kind": "path", "path": "train.jsonl"},
                "license": "CC-BY-4.0",
                "rules": {
                    "duplicates": "keep", "contradictions": "keep", "near_duplicates": RULE.model_dump(),
                    "decontaminate": [{"name": "test", "source": {"kind": "path", "path": "test.jsonl"}}],
                },
            }
        )  # fmt: skip
        store = Store(root / "store")
        made = curate(spec, locate(spec.source, root / "downloads", root), store)
        rejects = read_table(made.path / "rejects.parquet", Reject)
        gone = {r.line for r in rejects if r.reason == "contaminated"}
        equal = {r.detail.split()[3] for r in rejects if r.detail.startswith("equal to") and r.line <= len(train)}
        missed = [n for n in range(len(leaks)) if len(train) + n + 1 not in gone]
        for n in missed:
            print("missed", leaks[n])
        parts = split(made, SplitSpec(), 17, store)
        straddling = straddle({n: read_split(parts, n) for n in ("train", "validation", "test")})
    return {
        "planted_leaks": len(leaks), "planted_leaks_found": len(leaks) - len(missed),
        "published_test_rows_equal_to_train_rows": len(equal),
        "near_duplicate_pairs_across_our_split": straddling,
    }  # fmt: skip


def close(train: list[str], test: list[str]) -> dict[str, float]:
    """What `decontaminate.meaning` would reject of the published training rows, by its cosine."""
    nearest = (embed(train) @ embed(test).T).max(axis=1)
    return {str(least): round(float(np.mean(nearest >= least)), 4) for least in (0.85, 0.9, 0.95, 0.97)}


def straddle(parts: dict[str, list[object]]) -> int:
    """Pairs of the rule's own similarity that stand on two sides, by exhaustive comparison of test with train."""
    train = [plain(e.text) for e in parts["train"]]
    test = [plain(e.text) for e in parts["test"]]
    ordered = [[" ".join(sorted(t.split())) for t in side] for side in (test, train)]
    return int((process.cdist(*ordered, scorer=fuzz.ratio, score_cutoff=95, dtype=np.uint8) >= 95).sum())


def write(path: Path, rows: list[dict[str, str]]) -> None:
    import json

    path.write_text("".join(json.dumps(r) + "\n" for r in rows), encoding="utf-8")


if __name__ == "__main__":
    main()
