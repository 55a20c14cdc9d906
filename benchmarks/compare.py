"""README's table of figures, from `benchmarks/results`: `python -m benchmarks.compare` writes it anew."""

import json
from typing import Any

from benchmarks.measure import ROOT
from supply_chain.store import write_atomically

README, BEGIN, END = ROOT / "README.md", "<!-- python -m benchmarks.compare -->\n", "<!-- /figures -->"
HEAD = "| | here | beside it | file |\n|---|---|---|---|\n"


def table() -> str:
    """Ours and the other, better or worse, one line a comparison."""
    return HEAD + "".join(f"| {what} | {ours} | {other} | `{name}` |\n" for what, ours, other, name in rows())


def rows() -> list[tuple[str, str, str, str]]:
    """What, ours, the other, name of the results' file."""
    speed, student, router = (_result(name) for name in ("train_speed", "distill", "router"))
    copies, chain = _result("curation_speed")["near_duplicates"], _result("chain")["macro_f1"]
    scoring = _result("scoring_speed")
    svm, semhash, datatrove = (
        router["tfidf_svm"],
        copies["semhash, threshold 0.9 (default)"],
        copies["datatrove MinHash (1-grams)"],
    )
    return [
        (
            "The default recipe's specialist, macro-F1 on its test rows",
            f"4-bit {chain['bnb-nf4']}",
            f"word counts and a linear model {chain['tfidf']}; untuned base {chain['base']}",
            "chain",
        ),
        (
            "LoRA on short texts, one CPU thread, same rows and steps",
            f"{speed['ours']['examples_per_second']:.2f} examples/s, accuracy {speed['ours']['accuracy']:.3f}",
            f"TRL's SFTTrainer {speed['trl']['examples_per_second']:.2f}/s, accuracy {speed['trl']['accuracy']:.3f} "
            f"({speed['trl']['validation_rows']} validation rows)",
            "train_speed",
        ),
        (
            "Distilling 77 labels into half the layers, one CPU thread",
            f"{student['seconds_a_step']['ours']:.1f} s a step",
            f"TRL's GKD, offline: {student['seconds_a_step']['gkd']:.1f} s",
            "distill",
        ),
        (
            "Scoring 77 labels, seconds a row: plain prompt; one that lists all labels",
            f"{_seconds(scoring, 'ours')}, {scoring['instruction']['peak_mb']['ours'] / 1000:.1f} GB",
            f"lm-eval's HFLM {_seconds(scoring, 'hflm')}, {scoring['instruction']['peak_mb']['hflm'] / 1000:.1f} GB; "
            "the same answers",
            "scoring_speed",
        ),
        (
            "Near duplicates of short texts (ours: `similarity: 0.85`)",
            _copies(copies["ours, similarity 0.85"]),
            f"semhash (its default) {_copies(semhash)}; datatrove MinHash (1-grams) {_copies(datatrove)}",
            "curation_speed",
        ),
        (
            "Routing clinc150 to ten specialists",
            f"accuracy {router['domain_accuracy']:.3f}, {router['out_of_scope_recall']:.0%} of foreign questions found,"
            f" {router['p50_ms']:.2f} ms",
            f"TF-IDF and an SVM, which does better but slower: {svm['domain_accuracy']:.3f}, "
            f"{svm['out_of_scope_recall']:.0%}, {svm['mean_ms']:.1f} ms",
            "router",
        ),
    ]


def with_table(text: str) -> str:
    """README's text with the table in its place."""
    before, _, rest = text.partition(BEGIN)
    return before + BEGIN + table() + END + rest.partition(END)[2]


def _copies(found: dict[str, Any]) -> str:
    return f"{found['rows_per_second']:,} rows/s, recall {found['recall']:.2f}, precision {found['precision']:.2f}"


def _seconds(found: dict[str, Any], engine: str) -> str:
    return "; ".join(f"{found[prompt]['seconds_a_row'][engine]:.1f} s" for prompt in ("plain", "instruction"))


def _result(name: str) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((ROOT / f"benchmarks/results/{name}.json").read_text(encoding="utf-8"))
    return found


if __name__ == "__main__":
    write_atomically(README, with_table(README.read_text(encoding="utf-8")))
