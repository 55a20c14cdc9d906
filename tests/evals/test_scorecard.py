import json
from pathlib import Path

import pytest

from evals.baselines import predict_baseline
from evals.predictions import read_predictions, write_predictions
from evals.records import Prediction, Scorecard
from evals.scorecard import score
from evals.table import contestant_rows, milliseconds, size, usd
from supply_chain.data.examples import read_split
from supply_chain.data.table import write_table
from supply_chain.errors import CorruptData, EvidenceMismatch, InvalidInput
from supply_chain.identity import canonical_json, identity
from supply_chain.records import Predictions, Splits
from supply_chain.store import Store, Stored


def answering(name: str, splits: Stored[Splits], store: Store, wrong: int, **record) -> Stored[Predictions]:
    """Predictions that miss every `wrong`-th test row."""
    rows, labels = read_split(splits, "test"), splits.record.labels

    def make(folder: Path) -> Predictions:
        shares = []
        for i, row in enumerate(rows):
            right = labels.index(row.label)
            best = (right + 1) % 3 if i % wrong == 0 else right
            shares.append([0.8 if j == best else 0.1 for j in range(3)])
        write_predictions(folder, rows, labels, shares)
        fields = {"contestant": name, "model_digest": "d" * 64, "splits_digest": splits.digest, "labels": labels}
        figures = {"rows": len(rows), "p50_ms": 36.0, "p95_ms": 50.0, "size_bytes": 112_000_000}
        more = {"peak_memory_bytes": 1, "load_seconds": 1.0, "decisions_per_second": 10.0}
        return Predictions(**{**fields, **figures, **more, **record})

    return store.once(Predictions, identity("test", 1, name=name, wrong=wrong, record=record), make)


@pytest.fixture
def everyone(tiny_splits, tiny_recipe, store) -> list[Stored[Predictions]]:
    return [
        answering("bnb-nf4", tiny_splits, store, wrong=6),
        predict_baseline("majority", tiny_splits, tiny_recipe, 17, store),
        answering("tfidf", tiny_splits, store, wrong=2),
        answering("base", tiny_splits, store, wrong=1),
        answering("specialist", tiny_splits, store, wrong=8),
        answering("champion", tiny_splits, store, wrong=4),
    ]


@pytest.fixture
def scorecard(tiny_splits, tiny_recipe, store, everyone) -> Stored[Scorecard]:
    return score(tiny_recipe, tiny_splits, everyone, "bnb-nf4", 17, store)


def test_everyone_is_measured_on_the_same_rows(scorecard: Stored[Scorecard], everyone):
    card = scorecard.record
    assert [c.name for c in card.contestants] == ["majority", "tfidf", "base", "specialist", "champion", "bnb-nf4"]
    assert card.contestant("bnb-nf4").metric("accuracy").mean == pytest.approx(20 / 24)
    assert card.contestant("tfidf").metric("accuracy").mean == pytest.approx(12 / 24)
    assert card.contestant("base").metric("accuracy").mean == 0
    assert card.contestant("bnb-nf4").predictions_digest == everyone[0].digest
    assert (card.rows, card.metric, card.candidate) == (24, "macro_f1", "bnb-nf4")
    assert card.contestant("nobody") is None


def test_differences_favour_the_better(scorecard: Stored[Scorecard]):
    card = scorecard.record
    assert [(d.contestant, d.against) for d in card.differences] == [
        ("bnb-nf4", "majority"),
        ("bnb-nf4", "tfidf"),
        ("bnb-nf4", "base"),
        ("bnb-nf4", "specialist"),
        ("bnb-nf4", "champion"),
        ("specialist", "tfidf"),
    ]
    one, other = card.contestant("bnb-nf4"), card.contestant("tfidf")
    found = card.difference("bnb-nf4", "tfidf").estimate
    assert found.mean == pytest.approx(one.metric("macro_f1").mean - other.metric("macro_f1").mean) and found.low > 0
    assert card.difference("bnb-nf4", "specialist").estimate.mean < 0


def test_confusion_counts_every_row(scorecard: Stored[Scorecard], tiny_splits):
    table = scorecard.record.confusion
    assert sum(n for row in table.values() for n in row.values()) == 24
    assert sum(table[label][label] for label in tiny_splits.record.labels) == 20
    assert {t: sum(row.values()) for t, row in table.items()} == tiny_splits.record.rows["test"]


def test_costs_follow_the_recipe(scorecard: Stored[Scorecard]):
    candidate, table = scorecard.record.contestant("bnb-nf4"), scorecard.record.confusion
    mistakes = {(t, a): n for t, row in table.items() for a, n in row.items() if t != a}
    dear = mistakes.pop(("negative", "positive"))
    compute = 1000 * 0.036 / 3600 * 0.10
    expected = 1000 * (0.25 * dear + 0.02 * sum(mistakes.values())) / 24 + compute
    assert candidate.usd_per_1k.mean == pytest.approx(expected)
    assert candidate.usd_per_month == pytest.approx(expected)  # 1,000 a month


def test_the_digest_is_over_the_whole_record(scorecard: Stored[Scorecard]):
    assert (scorecard.path / "scorecard.json").read_text() == canonical_json(scorecard.record)
    assert Scorecard.model_validate(json.loads((scorecard.path / "scorecard.json").read_text())) == scorecard.record


def test_the_order_of_predictions_does_not_matter(scorecard, tiny_splits, tiny_recipe, store, everyone):
    assert score(tiny_recipe, tiny_splits, everyone[::-1], "bnb-nf4", 17, store).key == scorecard.key
    assert score(tiny_recipe, tiny_splits, everyone[:3], "bnb-nf4", 17, store).key != scorecard.key


def test_other_splits_are_refused(tiny_splits, tiny_recipe, store, everyone):
    stray = answering("specialist", tiny_splits, store, wrong=3, splits_digest="0" * 64)
    with pytest.raises(EvidenceMismatch, match="specialist answered the splits 000000000000, expected"):
        score(tiny_recipe, tiny_splits, [everyone[0], stray], "bnb-nf4", 17, store)
    assert list(store.all(Scorecard)) == []


def rewritten(stored: Stored[Predictions], store: Store, change) -> Stored[Predictions]:
    """The same predictions after `change(list)`, stored as an object of its own."""
    rows = change(read_predictions(stored))

    def make(folder: Path) -> Predictions:
        write_table(folder / "predictions.parquet", Prediction, rows)
        return stored.record.model_copy(update={"rows": len(rows)})

    return store.once(Predictions, identity("rewritten", 1, rows=rows), make)


@pytest.mark.parametrize(
    ("change", "error", "message"),
    [
        (lambda rows: rows[:-1], EvidenceMismatch, r"answered 23 rows, expected the same 24"),
        (lambda rows: [*rows, rows[0]], EvidenceMismatch, r"25 answers for 25 rows"),
        (
            lambda rows: [rows[0].model_copy(update={"label": rows[1].label}), *rows[1:]],
            EvidenceMismatch,
            "truth or group of rows",
        ),
        (lambda rows: [rows[0].model_copy(update={"answer": ""}), *rows[1:]], InvalidInput, r"row \d+ has no answer"),
    ],
    ids=["a row is missing", "a row is double", "another truth", "no answer"],
)
def test_evidence_that_does_not_fit_is_refused(tiny_splits, tiny_recipe, store, everyone, change, error, message):
    with pytest.raises(error, match=message):
        score(tiny_recipe, tiny_splits, [rewritten(everyone[0], store, change)], "bnb-nf4", 17, store)


def test_changed_bytes_are_refused(tiny_splits, tiny_recipe, store, everyone):
    (everyone[0].path / "predictions.parquet").write_bytes(b"PAR1")
    with pytest.raises(CorruptData, match="is damaged"):
        score(tiny_recipe, tiny_splits, everyone, "bnb-nf4", 17, store)


def test_the_candidate_must_take_part_once(tiny_splits, tiny_recipe, store, everyone):
    with pytest.raises(InvalidInput, match="needs the candidate 'bnb-nf4'"):
        score(tiny_recipe, tiny_splits, everyone[1:], "bnb-nf4", 17, store)
    with pytest.raises(InvalidInput, match="everyone once"):
        score(tiny_recipe, tiny_splits, [*everyone, everyone[0]], "bnb-nf4", 17, store)


def test_table_rows_are_plain_strings(scorecard: Stored[Scorecard]):
    rows = contestant_rows(scorecard.record)
    assert [list(row) for row in rows] == [
        ["contestant", "macro-F1 [95 %]", "accuracy [95 %]", "p50 ms", "p95 ms", "size", "$/1,000"]
    ] * 6
    candidate = scorecard.record.contestant("bnb-nf4").metric("accuracy")
    assert rows[-1]["contestant"] == "Specialist, 4-bit (NF4) (candidate)"
    assert rows[-1]["accuracy [95 %]"] == f"0.833 [{candidate.low:.3f}, {candidate.high:.3f}]"
    assert (rows[-1]["p50 ms"], rows[-1]["size"]) == ("36.0", "112 MB")


@pytest.mark.parametrize(
    ("shown", "expected"),
    [
        (milliseconds(0.0007), "< 0.01"),
        (milliseconds(0.943), "0.94"),
        (milliseconds(8.26), "8.3"),
        (milliseconds(1234.4), "1,234"),
        (size(8), "8 B"),
        (size(1_484_676), "1.5 MB"),
        (size(272_585_644), "273 MB"),
        (size(16_060_000_000), "16.1 GB"),
        (usd(0), "$0.00"),
        (usd(0.00421), "$0.0042"),
        (usd(12.3), "$12.30"),
        (usd(12345.6), "$12,346"),
    ],
)
def test_figures(shown, expected):
    assert shown == expected
