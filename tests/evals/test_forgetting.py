"""The forgetting matrix: exact values, rows that were trained on left out, and what is gone."""

from collections.abc import Callable
from pathlib import Path

import pytest

from evals.forgetting import remembered
from evals.recall import Recall, Recalled, recall_key
from evals.records import Forgetting
from supply_chain.data.examples import read_split
from supply_chain.data.table import write_table
from supply_chain.identity import identity
from supply_chain.records import Artifact, Compute, Example, Splits, Trained
from supply_chain.store import Store, Stored

CPU = Compute(device="cpu", dtype="float32", attention="eager", threads=1)
Wrong = dict[tuple[str, str], set[int]]
"""By version and test set: the rows answered wrong."""


def row(n: int, name: str = "new") -> Example:
    return Example(id=f"{name}{n}", text=f"{name} {n}", label="ab"[n % 2], group=f"{name}{n}", file="x", line=n)


def splits_of(store: Store, train: list[Example], test: list[Example]) -> Stored[Splits]:
    def make(folder: Path) -> Splits:
        for name, rows in (("train", train), ("validation", []), ("test", test)):
            write_table(folder / f"{name}.parquet", Example, rows)
        return Splits(data_digest="", seed=1, labels=["a", "b"], rows={}, groups={}, license="CC0-1.0", attribution="")

    return store.once(Splits, identity("t", 1, train=train, test=test), make)


def version(store: Store, name: str, splits: Stored[Splits]) -> Stored[Artifact]:
    def trained(folder: Path) -> Trained:
        (folder / "weights").write_text(name)
        return Trained(
            base_name="tiny", base_digest="", splits_digest=splits.digest, prompt_sha256="", method="head", steps=1,
            examples=1, seconds=1, compute=CPU, losses=[], trained_parameters=1, tracking_run=None,
        )  # fmt: skip

    made_from = store.once(Trained, identity("t", 2, name=name), trained).digest

    def artifact(folder: Path) -> Artifact:
        (folder / "weights").write_text(name)
        return Artifact(
            format="bnb-nf4", bits=4, made_from=made_from, base_name="tiny", base_digest="", license="CC0-1.0",
            context_tokens=9, tokenizer_sha256="", chat_template_sha256="", prompt_sha256="", labels=[], runtime="",
        )  # fmt: skip

    return store.once(Artifact, identity("t", 3, name=name), artifact)


def answering(store: Store, names: dict[str, str], wrong: Wrong) -> Callable[[Stored, Stored], Stored[Recall]]:
    """Answers from a table; `names` of weights and test sets by digest."""

    def recalls(model: Stored[Artifact], splits: Stored[Splits]) -> Stored[Recall]:
        missed = wrong[names[model.digest], names[splits.digest]]

        def make(folder: Path) -> Recall:
            rows = read_split(splits, "test")
            said = [Recalled(id=r.id, answer="ba"[i % 2] if i in missed else r.label) for i, r in enumerate(rows)]
            write_table(folder / "answers.parquet", Recalled, said)
            return Recall(model_digest=model.digest, splits_digest=splits.digest, rows=len(rows))

        return store.once(Recall, recall_key(model, splits), make)

    return recalls


@pytest.fixture
def found(store: Store) -> Forgetting:
    """Three versions. Two of the first test rows were trained on later, one by each later version."""
    tests = [[row(n, name) for n in range(40)] for name in ("one", "two", "three")]
    shouted = tests[0][1].model_copy(update={"text": "ONE  1"})
    one = splits_of(store, [row(0)], tests[0])
    two = splits_of(store, [row(1), tests[0][0]], tests[1])
    three = splits_of(store, [row(2), shouted], tests[2])
    v1, v2, now = (version(store, f"v{i}", s) for i, s in enumerate((one, two, three), 1))
    names = {v1.digest: "v1", v2.digest: "v2", now.digest: "v3", one.digest: "one", two.digest: "two"}
    wrong: Wrong = {
        ("v1", "one"): {0, 1, 2, 3},
        ("v2", "one"): {2},
        ("v3", "one"): {0, 1, 2, 3, 4, 5},
        ("v2", "two"): {0, 1},
        ("v3", "two"): {0},
    }
    recalls = answering(store, names, wrong)
    return remembered({1: v1, 2: v2, 3: None}, now, three, recalls, 17, store).record


def test_the_matrix_is_that_of_chaudhry(found: Forgetting) -> None:
    assert [(t.first, t.rows, t.left_out, list(t.accuracy)) for t in found.tests] == [
        (1, 38, 2, ["1", "2", "candidate"]),
        (2, 40, 0, ["2", "candidate"]),
    ]
    means = [{name: e.mean for name, e in t.accuracy.items()} for t in found.tests]
    assert means[0] == pytest.approx({"1": 36 / 38, "2": 37 / 38, "candidate": 34 / 38})
    assert means[1] == pytest.approx({"2": 38 / 40, "candidate": 39 / 40})
    assert found.average is not None
    assert found.average.mean == pytest.approx((3 / 38 - 1 / 40) / 2)
    assert found.average.n == 78
    assert found.average.low < found.average.mean - 0.02 < found.average.mean + 0.02 < found.average.high
    assert found.gone == [3]


def test_todays_own_test_rows_and_trained_rows_are_no_evidence(store: Store) -> None:
    test = [row(n, "one") for n in range(10)]
    one = splits_of(store, [row(0)], test)
    v1 = version(store, "v1", one)
    same = version(store, "v2", splits_of(store, [row(1)], test))
    names = {v1.digest: "v1", same.digest: "v2", one.digest: "one"}
    recalls = answering(store, names, {("v1", "one"): set(), ("v2", "one"): set()})
    alike = remembered({1: v1}, same, splits_of(store, [row(1)], test), recalls, 17, store).record
    assert (alike.tests, alike.average, alike.gone) == ([], None, [])
    grown = splits_of(store, [row(1), *test], [row(n, "two") for n in range(10)])
    now = remembered({1: v1}, same, grown, recalls, 17, store).record
    assert (now.tests[0].rows, now.tests[0].left_out, now.tests[0].accuracy, now.average) == (0, 10, {}, None)


def test_equal_answers_leave_an_interval(store: Store) -> None:
    """Draws that agree by chance do not prove that nothing was forgotten."""
    one = splits_of(store, [row(0)], [row(n, "one") for n in range(5)])
    v1 = version(store, "v1", one)
    now = version(store, "v2", three := splits_of(store, [row(2)], [row(n, "three") for n in range(5)]))
    names = {v1.digest: "v1", now.digest: "v2", one.digest: "one"}
    recalls = answering(store, names, {("v1", "one"): set(), ("v2", "one"): set()})
    average = remembered({1: v1}, now, three, recalls, 17, store).record.average
    assert average is not None and average.mean == 0
    assert average.high > 0.1
