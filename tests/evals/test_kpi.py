import pytest

from evals.estimate import Bench
from evals.intervals import share_interval
from evals.kpi import machine_usd, usd_per_1k, usd_per_month
from supply_chain.errors import InvalidInput
from supply_chain.pricing import mistake_prices
from supply_chain.recipe.evaluate import Kpis

LABELS = ["negative", "neutral", "positive"]
KPIS = Kpis(
    volume_per_month=200_000,
    mistake_usd=0.02,
    mistakes={"negative->positive": 0.25, "negative -> neutral": 0.10},
    compute_usd_per_hour=0.36,
)


def test_named_mistakes_have_their_price_and_the_rest_the_common_one():
    prices = mistake_prices(KPIS, LABELS)
    assert prices["negative", "positive"] == 0.25
    assert prices["negative", "neutral"] == 0.10
    assert prices["positive", "negative"] == 0.02
    assert [prices[label, label] for label in LABELS] == [0, 0, 0]


def test_costs_of_1000_decisions_and_of_a_month():
    truth = ["negative", "negative", "positive", "neutral"]
    answers = ["positive", "negative", "negative", "neutral"]
    bench = Bench(truth, ["a", "b", "c", "d"], LABELS, 400, 1)
    found = usd_per_1k(bench, KPIS, answers, machine_usd(KPIS, seconds=0.5))
    compute = 1000 * 0.5 / 3600 * 0.36
    assert found.mean == pytest.approx(1000 * (0.25 + 0.02) / 4 + compute)
    assert found.low >= compute - 1e-9 and found.n == 4
    assert usd_per_month(found, KPIS) == pytest.approx(found.mean * 200)


def test_being_right_costs_compute_only():
    bench = Bench(LABELS, ["a", "b", "c"], LABELS, 200, 1)
    free = usd_per_1k(bench, KPIS, LABELS, 0.0)
    assert (free.mean, free.low) == (0, 0)
    # Three rows without a mistake: as many may come as the interval of their share allows, at the dearest price.
    assert free.high == pytest.approx(1000 * 0.25 * share_interval(0.0, 3)[1])


@pytest.mark.parametrize(
    ("kind", "message"),
    [
        ("negative->positve", r"'negative->positve' names no label 'positve'; did you mean positive\?"),
        ("spam->positive", r"no label 'spam'; known: negative, neutral, positive"),
        ("neutral->neutral", r"is no mistake"),
    ],
)
def test_a_mistake_of_unknown_labels_is_refused(kind, message):
    with pytest.raises(InvalidInput, match=message):
        mistake_prices(KPIS.model_copy(update={"mistakes": {kind: 1.0}}), LABELS)
