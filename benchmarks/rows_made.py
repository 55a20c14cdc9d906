"""Short rows in any number: the first half of one real question joined to the second half of another."""

import json
import random
from collections.abc import Iterator
from pathlib import Path

from measure import data_folder, read_lines


def questions() -> list[dict[str, str]]:
    """Texts of at least eight words from banking77 and clinc150, labelled with where they come from."""
    names = ("banking77", "clinc150")
    rows = [{"text": r["text"], "label": n} for n in names for r in read_lines(data_folder(n) / "train.jsonl")]
    return [r for r in rows if len(r["text"].split()) >= 8]


def joined(number: int, seed: int = 17) -> Iterator[dict[str, str]]:
    """Texts of some twelve words; one in twenty repeats an earlier one, one in a hundred is too long or unlabelled."""
    rng, base = random.Random(seed), questions()
    halves = [
        (" ".join(w[: len(w) // 2]), " ".join(w[len(w) // 2 :]), r["label"]) for r in base for w in [r["text"].split()]
    ]
    last: dict[str, str] = {}
    for _ in range(number):
        if last and rng.random() < 0.05:
            yield last
            continue
        head, tail = rng.choice(halves), rng.choice(halves)
        row = {"text": f"{head[0]} {tail[1]}", "label": head[2]}
        if rng.random() < 0.01:
            row = rng.choice([{**row, "label": ""}, {**row, "text": row["text"] * 100}])
        elif rng.random() < 0.1:
            last = row
        yield row


def write(path: Path, number: int) -> None:
    """`number` rows as JSON Lines."""
    with path.open("w", encoding="utf-8") as file:
        for row in joined(number):
            file.write(json.dumps(row) + "\n")
