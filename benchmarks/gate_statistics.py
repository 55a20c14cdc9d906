"""Coverage of the intervals and the gate's false promotions, by simulation: `python benchmarks/gate_statistics.py`.

Coverage of an accuracy's 95 % interval at 50, 200 and 1,000 rows, exactly (every count with its binomial
probability) and in replays of clustered rows; coverage of the paired interval; how often each verdict of the
gate is given when the candidate is truly worse than the champion by the margin, equal to it, or just at a limit.
"""

import sys

import numpy as np
from measure import report
from scipy.stats import binom

from evals.estimate import Bench
from evals.intervals import paired_interval
from evals.records import Contestant, Difference, Estimate, Scorecard
from registry.gate import decide
from supply_chain.escalation import choose_threshold
from supply_chain.recipe.schema import Kpis, Promote

SIZES, ACCURACIES = (50, 200, 1000), (0.5, 0.9, 0.99)
MARGIN = 0.03
LABELS = ["a", "b", "c"]


def main() -> None:
    """Prints one JSON line and keeps it under `benchmarks/results/gate_statistics.json`."""
    replays = int(sys.argv[1]) if len(sys.argv) > 1 else 1000
    rng = np.random.default_rng(17)
    report(
        "gate_statistics",
        replays=replays,
        exact_coverage={f"{n} rows, {p}": round(exact_coverage(n, p), 4) for n in SIZES for p in ACCURACIES},
        attainable_at_50_rows_and_099=[round(c, 4) for c in attainable(50, 0.99)],
        clustered_coverage={f"{n} rows in {n // 5} groups, {p}": clustered(n, p, replays, rng) for n, p in CLUSTERED},
        paired_coverage={f"{n} rows": paired(n, replays, rng) for n in SIZES},
        promoted_though_worse_by_the_margin={
            f"{metric}, {n} rows": promoted(metric, n, -MARGIN, replays, rng)
            for metric in ("accuracy", "macro_f1")
            for n in SIZES
        },
        promoted_when_equal={f"accuracy, {n} rows": promoted("accuracy", n, 0.0, replays, rng) for n in SIZES},
        risk_promised_and_kept={f"{n} rows, {r}": promise(n, r, replays, rng) for n in SIZES for r in (0.05, 0.1, 0.2)},
        passed_minimum_though_at_it={f"{n} rows, {p}": minimum(n, p, replays, rng) for n in SIZES for p in ACCURACIES},
    )


CLUSTERED = ((200, 0.5), (200, 0.9), (1000, 0.5), (1000, 0.9), (1000, 0.99))


def bench(rows: int, groups: int, truth: np.ndarray, seed: int) -> Bench:
    """A test of `rows` rows, in groups of equal size."""
    return Bench([LABELS[t] for t in truth], [str(i * groups // rows) for i in range(rows)], LABELS, 400, seed)


def answers(truth: np.ndarray, right: np.ndarray) -> list[str]:
    """The truth where `right`, else the label after it."""
    return [LABELS[(t + (not r)) % 3] for t, r in zip(truth, right, strict=True)]


def exact_coverage(rows: int, accuracy: float) -> float:
    """The probability that the interval that the scorecard states covers the accuracy."""
    covered = 0.0
    for x in range(rows + 1):
        weight = binom.pmf(x, rows, accuracy)
        if weight > 1e-9:
            truth = np.zeros(rows, dtype=int)
            found = bench(rows, rows, truth, 1).estimates(answers(truth, np.arange(rows) < x))["accuracy"]
            covered += weight * (found.low <= accuracy <= found.high)
    return float(covered)


def attainable(rows: int, accuracy: float) -> list[float]:
    """Coverages that any rule can have whose limits rise with the count: the count's likeliest ranges' masses."""
    masses = np.cumsum([binom.pmf(x, rows, accuracy) for x in range(rows, rows - 5, -1)])
    return [float(mass) for mass in masses]


def clustered(rows: int, accuracy: float, replays: int, rng: np.random.Generator) -> float:
    """Coverage where rows of a group of five resemble each other (intra-class correlation 0.2)."""
    hits, truth = 0, np.zeros(rows, dtype=int)
    for trial in range(replays):
        skill = np.repeat(rng.beta(4 * accuracy, 4 * (1 - accuracy), rows // 5), 5)
        found = bench(rows, rows // 5, truth, trial).estimates(answers(truth, rng.random(rows) < skill))["accuracy"]
        hits += found.low <= accuracy <= found.high
    return hits / replays


def paired(rows: int, replays: int, rng: np.random.Generator) -> float:
    """Coverage of the paired interval where 8 % of the rows are won and 5 % lost."""
    hits = 0
    for wins, losses, _ in rng.multinomial(rows, [0.08, 0.05, 0.87], replays):
        low, high = paired_interval(float(wins), float(losses), rows)
        hits += low <= 0.03 <= high
    return hits / replays


def promoted(metric: str, rows: int, difference: float, replays: int, rng: np.random.Generator) -> float:
    """How often the gate lets a candidate pass whose accuracy differs from the champion's by `difference`.

    The champion is right on 90 % of the rows; the two part on no more rows than the difference needs, and on
    2 % besides.
    """
    policy = Promote(minimum=0.0, beats=[], champion_margin=MARGIN, quantization_loss=1.0)
    worse, better = 0.01 + max(0.0, -difference), 0.01 + max(0.0, difference)
    passed = 0
    for trial in range(replays):
        truth = rng.integers(0, 3, rows)
        kind = rng.choice(4, rows, p=[0.9 - worse, worse, better, 0.1 - better])
        test = bench(rows, rows, truth, trial)
        champion, candidate = answers(truth, kind <= 1), answers(truth, (kind == 0) | (kind == 2))
        card = scorecard(test, metric, candidate, champion)
        passed += next(c.passed for c in decide(policy, card, "").checks if c.name == "champion")
    return passed / replays


def minimum(rows: int, accuracy: float, replays: int, rng: np.random.Generator) -> float:
    """How often the required minimum is found reached by a candidate that is exactly at it."""
    truth, passed = np.zeros(rows, dtype=int), 0
    for _ in range(replays):
        found = bench(rows, rows, truth, 1).estimates(answers(truth, rng.random(rows) < accuracy))["accuracy"]
        passed += found.low > accuracy
    return passed / replays


def promise(rows: int, max_risk: float, replays: int, rng: np.random.Generator) -> dict[str, float]:
    """How often the true risk above the chosen threshold is within the promise; how often one could be made.

    Confidences are calibrated and follow Beta(4, 1); E[1 - c | c >= t] is then known in closed form. Where
    nothing is promised everything is passed on, and the promise holds.
    """
    held, made = 0, 0
    for _ in range(replays):
        sure = rng.beta(4, 1, rows)
        found = choose_threshold(sure.tolist(), (rng.random(rows) < sure).tolist(), max_risk)
        t = max(0.0, min(found.threshold, 1 - 1e-9))
        risk = 1 - (4 / 5) * (1 - t**5) / (1 - t**4)
        held += not found.promised or risk <= max_risk
        made += found.promised
    return {"held": held / replays, "made": made / replays}


def scorecard(test: Bench, metric: str, candidate: list[str], champion: list[str]) -> Scorecard:
    """What the gate reads: two contestants and their difference."""
    one, other = (contestant(name, test, a) for name, a in (("bnb-nf4", candidate), ("champion", champion)))
    gap = Difference(
        contestant="bnb-nf4",
        against="champion",
        metric=metric,
        estimate=test.difference(metric, candidate, champion),
    )
    fields = {"recipe": "r", "task": "classification", "metric": metric, "candidate": "bnb-nf4", "splits_digest": ""}
    sizes = {"labels": LABELS, "rows": len(test.truth), "groups": len(test.truth), "by_label": [], "confusion": {}}
    kpis = Kpis(volume_per_month=1, mistake_usd=0)
    return Scorecard(**fields, **sizes, contestants=[one, other], differences=[gap], kpis=kpis)


def contestant(name: str, test: Bench, given: list[str]) -> Contestant:
    """A contestant that only has metrics."""
    none = Estimate(mean=0, low=0, high=0, n=1)
    figures = dict.fromkeys(("p50_ms", "p95_ms", "decisions_per_second", "usd_per_month"), 0.0)
    sizes = dict.fromkeys(("size_bytes", "peak_memory_bytes"), 0)
    texts = dict.fromkeys(("title", "model_digest", "predictions_key", "predictions_digest"), "")
    return Contestant(name=name, metrics=test.estimates(given), usd_per_1k=none, **figures, **sizes, **texts)


if __name__ == "__main__":
    main()
