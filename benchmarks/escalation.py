"""The promised risk on clinc150, with questions out of scope: `python benchmarks/escalation.py`.

A linear model over word counts (`evals/baselines.py`) learns the 150 intents from a third of the train rows. Its
threshold is chosen on the validation rows, of which the questions out of scope are a part, then held against the
test rows. Answering a question that is out of scope is a mistake; passing it on is what should be done.
"""

from dataclasses import dataclass

from measure import data_folder, read_lines, report

from evals.baselines import _tfidf
from evals.confidence import confidence_of
from evals.estimate import Bench
from supply_chain.escalation import choose_threshold
from supply_chain.records import Example

OUT_OF_SCOPE = "oos"
RISKS = (0.02, 0.05, 0.1)


@dataclass(frozen=True)
class Answered:
    """Rows with their answers."""

    truth: list[str]
    answers: list[str]
    confidences: list[float]


def main() -> None:
    """Prints one JSON line and keeps it under `benchmarks/results/escalation.json`."""
    folder = data_folder("clinc150")
    train = [Example(id="", group="", file="", line=0, **row) for row in read_lines(folder / "train.jsonl")[::3]]
    labels = sorted({row.label for row in train})
    model = _tfidf(train, labels)

    def answered(*names: str) -> Answered:
        rows = [row for name in names for row in read_lines(folder / f"{name}.jsonl")]
        shares = [list(s) for s in model.shares([row["text"] for row in rows])]
        best = [max(range(len(labels)), key=s.__getitem__) for s in shares]
        sure = [s[b] for s, b in zip(shares, best, strict=True)]
        return Answered([row["label"] for row in rows], [labels[b] for b in best], sure)

    # As many out of scope for each in scope as in validation: the promise is about such questions.
    validation, test = answered("val", "oos_val"), answered("test", "oos_test")
    test = thinned(test, keep=150)
    bench = Bench(test.truth, [str(i) for i in range(len(test.truth))], [*labels, OUT_OF_SCOPE], 200, 17)
    right = [t == a for t, a in zip(validation.truth, validation.answers, strict=True)]
    found = {}
    for max_risk in RISKS:
        promise = choose_threshold(validation.confidences, right, max_risk)
        kept = confidence_of(bench, test.answers, test.confidences, promise).kept
        assert kept is not None
        outside = [
            c < promise.threshold for c, t in zip(test.confidences, test.truth, strict=True) if t == OUT_OF_SCOPE
        ]
        found[f"at most {max_risk:.0%} wrong"] = {
            "promise": promise.model_dump(),
            "test_risk": kept.risk.model_dump() if kept.risk else None,
            "promise_is_kept": kept.risk is None or kept.risk.mean <= max_risk,
            "escalated": kept.escalated.model_dump(),
            "out_of_scope_recall": round(sum(outside) / len(outside), 3),
        }
    rows = {"validation": len(validation.truth), "test": len(test.truth), "test_out_of_scope": len(outside)}
    report("escalation", data="clinc150", model="word counts and a linear model", rows=rows, **found)


def thinned(answered: Answered, keep: int) -> Answered:
    """The rows in scope and the first `keep` out of scope."""
    outside = [i for i, t in enumerate(answered.truth) if t == OUT_OF_SCOPE]
    rows = [i for i in range(len(answered.truth)) if i not in set(outside[keep:])]
    return Answered(*([values[i] for i in rows] for values in vars(answered).values()))


if __name__ == "__main__":
    main()
