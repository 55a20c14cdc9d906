"""Coverage of the intervals and the gate's false promotions: `python benchmarks/gate_statistics.py [REPLAYS]`.

Exactly, by summing over every count with its binomial probability: coverage of an accuracy's 95 % interval at 50,
200 and 1,000 rows, how often a candidate that is just at the required minimum passes it, and how often one passes
that is truly worse than the champion by the margin. By replays: rows that resemble each other in groups (2,000), the
risk that an escalation threshold promises (1,000) and macro-F1 (REPLAYS, 300).
"""

import sys
from collections.abc import Iterator
from dataclasses import replace

import numpy as np
from measure import report
from scipy.stats import binom

from evals.estimate import Bench
from evals.estimates import Estimate
from evals.intervals import effective_rows, paired_interval, share_interval
from evals.records import Contestant, Difference, Scorecard
from evals.tco import Prices
from registry.gate import decide
from supply_chain.escalation import choose_threshold
from supply_chain.recipe.evaluate import Kpis
from supply_chain.recipe.promote import Promote

SIZES, ACCURACIES = (50, 200, 1000), (0.5, 0.9, 0.99)
MARGIN, BESIDES = 0.03, 0.01
LABELS = ["a", "b", "c"]
CLUSTERED = ((200, 0.5), (200, 0.9), (1000, 0.5), (1000, 0.9), (1000, 0.99))
POLICY = Promote(minimum=0.0, beats=[], champion_margin=MARGIN, quantization_loss=1.0)


def main() -> None:
    """Prints one JSON line and keeps it under `benchmarks/results/gate_statistics.json`."""
    replays = int(sys.argv[1]) if len(sys.argv) > 1 else 300
    rng = np.random.default_rng(17)
    cells = {f"{n} rows, {p}": single(n, p) for n in SIZES for p in ACCURACIES}
    report(
        "gate_statistics",
        replays=replays,
        exact_coverage={name: round(covered, 4) for name, (covered, _) in cells.items()},
        attainable_coverage_at_50_rows_and_099=[round(c, 4) for c in attainable(50, 0.99)],
        passed_the_minimum_though_just_at_it={name: round(passed, 4) for name, (_, passed) in cells.items()},
        paired_coverage={f"{n} rows": round(paired(n)[0], 4) for n in SIZES},
        promoted_though_worse_by_the_margin={f"accuracy, {n} rows": round(paired(n)[1], 4) for n in SIZES}
        | {f"macro_f1, {n} rows, by replays": worse(n, replays, rng) for n in SIZES},
        clustered_coverage={f"{n} rows in {n // 5} groups, {p}": clustered(n, p, 2000, rng) for n, p in CLUSTERED},
        promised_risk={f"{n} rows, {r}": promise(n, r, 1000, rng) for n in SIZES for r in (0.05, 0.1, 0.2)},
        break_even_volume_by_price=break_even(),
    )


def bench(rows: int, groups: int, truth: np.ndarray, seed: int) -> Bench:
    """A test of `rows` rows, in groups of equal size."""
    return Bench([LABELS[t] for t in truth], [str(i * groups // rows) for i in range(rows)], LABELS, 400, seed)


def answers(truth: np.ndarray, right: np.ndarray) -> list[str]:
    """The truth where `right`, else the label after it."""
    return [LABELS[(t + (not r)) % 3] for t, r in zip(truth, right, strict=True)]


def single(rows: int, accuracy: float) -> tuple[float, float]:
    """How probable it is that the stated interval covers the accuracy, and that it lies above it."""
    covered, above, truth = 0.0, 0.0, np.zeros(rows, dtype=int)
    for x in range(rows + 1):
        weight = float(binom.pmf(x, rows, accuracy))
        if weight > 1e-7:
            found = bench(rows, rows, truth, 1).estimates(answers(truth, np.arange(rows) < x))["accuracy"]
            covered += weight * (found.low <= accuracy <= found.high)
            above += weight * (found.low > accuracy)
    return covered, above


def attainable(rows: int, accuracy: float) -> list[float]:
    """Coverages that any rule can have whose limits rise with the count: the count's likeliest ranges' masses."""
    masses = np.cumsum([binom.pmf(x, rows, accuracy) for x in range(rows, rows - 5, -1)])
    return [float(mass) for mass in masses]


def clustered(rows: int, accuracy: float, replays: int, rng: np.random.Generator) -> float:
    """Coverage where rows of a group of five resemble each other (intra-class correlation 0.2)."""
    hits, groups = 0, rows // 5
    for _ in range(replays):
        skill = np.repeat(rng.beta(4 * accuracy, 4 * (1 - accuracy), groups), 5)
        right = (rng.random(rows) < skill).astype(float)
        low, high = share_interval(right.mean(), effective_rows(right, np.repeat(np.arange(groups), 5), groups))
        hits += low <= accuracy <= high
    return hits / replays


def paired(rows: int) -> tuple[float, float]:
    """Coverage of the paired interval, and how probable it is that the gate passes a candidate worse by the margin.

    It loses 4 % of the champion's rows and wins 1 % of the others.
    """
    covered, passed = 0.0, 0.0
    for wins, losses, weight in outcomes(rows, BESIDES, BESIDES + MARGIN):
        low, high = paired_interval(float(wins), float(losses), rows)
        covered += weight * (low <= -MARGIN <= high)
        gap = Estimate(mean=(wins - losses) / rows, low=low, high=high, n=rows)
        passed += weight * champion_passes(scorecard("accuracy", gap, rows))
    return covered, passed


def outcomes(rows: int, win: float, loss: float) -> Iterator[tuple[int, int, float]]:
    """Numbers of rows won and lost, with their probability."""
    for losses in range(rows + 1):
        first = float(binom.pmf(losses, rows, loss))
        if first < 1e-6:
            continue
        for wins in range(rows - losses + 1):
            weight = first * float(binom.pmf(wins, rows - losses, win / (1 - loss)))
            if weight > 1e-8:
                yield wins, losses, weight


def worse(rows: int, replays: int, rng: np.random.Generator) -> float:
    """How often the gate passes such a candidate by its macro-F1; the champion is right on 90 % of the rows."""
    passed, shares = 0, [0.9 - BESIDES - MARGIN, BESIDES + MARGIN, BESIDES, 0.1 - BESIDES]
    for trial in range(replays):
        truth, kind = rng.integers(0, 3, rows), rng.choice(4, rows, p=shares)
        champion, candidate = answers(truth, kind <= 1), answers(truth, (kind == 0) | (kind == 2))
        gap = bench(rows, rows, truth, trial).difference("macro_f1", candidate, champion)
        passed += champion_passes(scorecard("macro_f1", gap, rows))
    return passed / replays


def champion_passes(card: Scorecard) -> bool:
    """Whether the gate finds the loss against the champion within the margin."""
    return next(c.passed for c in decide(POLICY, card, "").checks if c.name == "champion")


def break_even() -> dict[str, list[int | None]]:
    """The break-even volume as each price rises; it never turns."""
    prices = Prices(100_000, 2.0, 30, 4, 20, 1, 50, 0.36, 0.1, 0.2, 0.002)
    found = {}
    for name in ("generalist_usd_for_1000", "training_usd", "hosting_usd_a_month", "compute_usd_an_hour"):
        values = [getattr(prices, name) * k for k in (0.5, 1.0, 2.0, 4.0)]
        found[name] = [replace(prices, **{name: value}).break_even_volume for value in values]
    return found


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


def scorecard(metric: str, gap: Estimate, rows: int) -> Scorecard:
    """What the gate reads: two contestants and their difference."""
    one, other = contestant("bnb-nf4", metric), contestant("champion", metric)
    gaps = [Difference(contestant="bnb-nf4", against="champion", metric=metric, estimate=gap)]
    fields = {"recipe": "r", "task": "classification", "metric": metric, "candidate": "bnb-nf4", "splits_digest": ""}
    sizes = {"labels": LABELS, "rows": rows, "groups": rows, "by_label": [], "confusion": {}}
    kpis = Kpis(volume_per_month=1, mistake_usd=0)
    return Scorecard(**fields, **sizes, contestants=[one, other], differences=gaps, kpis=kpis)


def contestant(name: str, metric: str) -> Contestant:
    """A contestant of whom only the difference counts."""
    none = Estimate(mean=0, low=0, high=0, n=1)
    figures = dict.fromkeys(("p50_ms", "p95_ms", "decisions_per_second", "usd_per_month"), 0.0)
    sizes = dict.fromkeys(("size_bytes", "peak_memory_bytes"), 0)
    texts = dict.fromkeys(("title", "model_digest", "predictions_key", "predictions_digest"), "")
    return Contestant(name=name, metrics={metric: none}, usd_per_1k=none, **figures, **sizes, **texts)


if __name__ == "__main__":
    main()
