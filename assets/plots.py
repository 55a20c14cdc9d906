"""Pictures for the Dagster UI, as Markdown that holds its PNG."""

import base64
import io
from typing import Any

from evals.metrics import TITLES
from evals.records import Scorecard
from evals.sureness import Confidence
from supply_chain.records import LossPoint


def loss_curve(losses: list[LossPoint]) -> str:
    """Training loss over steps."""
    figure, axes = _empty("step", "loss (nats a token)")
    axes.plot([p.step for p in losses], [p.loss for p in losses], linewidth=1.2)
    return _markdown(figure, "training loss")


def reliability(confidence: Confidence) -> str:
    """Share of right answers over confidence, rows of like confidence together; the rule is where both agree."""
    figure, axes = _empty("confidence", "share right")
    axes.plot([0, 1], [0, 1], linestyle="--", linewidth=0.8, color="grey")
    axes.plot([b.confidence for b in confidence.bins], [b.right for b in confidence.bins], marker="o", linewidth=1.2)
    axes.set(xlim=(0, 1), ylim=(0, 1))
    return _markdown(figure, "reliability")


def frontier(card: Scorecard) -> str:
    """Quality with its interval over what 1,000 decisions cost, for every contestant."""
    figure, axes = _empty("$ for 1,000 decisions, mistakes included", TITLES[card.metric])
    for one in card.contestants:
        found, price = one.metric(card.metric), one.usd_per_1k.mean
        own = one.name == card.candidate
        spread = [[max(0.0, found.mean - found.low)], [max(0.0, found.high - found.mean)]]
        axes.errorbar([price], [found.mean], yerr=spread, marker="o", capsize=2, color="C3" if own else "C0")
        axes.annotate(one.name, (price, found.mean), xytext=(5, 3), textcoords="offset points", fontsize=8)
    return _markdown(figure, "frontier")


def _empty(across: str, up: str) -> tuple[Any, Any]:
    from matplotlib.figure import Figure  # noqa: PLC0415 (a second, only where a picture is drawn)

    figure = Figure(figsize=(6, 2.6), layout="constrained")
    axes = figure.subplots()
    axes.set_xlabel(across)
    axes.set_ylabel(up)
    axes.grid(alpha=0.3)
    return figure, axes


def _markdown(figure: Any, name: str) -> str:
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", dpi=110)
    return f"![{name}](data:image/png;base64,{base64.b64encode(buffer.getvalue()).decode()})"
