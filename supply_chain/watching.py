"""What a training run shows while it goes on, and what stops it."""

import math
from typing import Any

from transformers import ProgressCallback, TrainerCallback

from supply_chain.errors import CannotTrain
from supply_chain.tracking import Tracker


class Bar(ProgressCallback):
    """The trainer's bar with its time left; the loss stands beside it instead of on a line for each step."""

    def on_train_begin(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        """Called by the trainer before its first step; a resumed run's time left counts its own steps alone."""
        super().on_train_begin(args, state, control, **kwargs)
        self.current_step = state.global_step
        if self.training_bar is not None:
            self.training_bar.initial = self.training_bar.n = state.global_step
            self.training_bar.refresh()

    def on_log(self, args: Any, state: Any, control: Any, logs: dict[str, float] | None = None, **kwargs: Any) -> None:
        """Called by the trainer at every step."""
        if self.training_bar is not None and logs and "loss" in logs:
            self.training_bar.set_postfix(loss=f"{logs['loss']:.3f}")


class Watch(TrainerCallback):
    """Sends losses to the tracker and stops at the first that is not a number."""

    def __init__(self, tracker: Tracker):
        self.tracker = tracker

    def on_log(self, args: Any, state: Any, control: Any, logs: dict[str, float] | None = None, **kwargs: Any) -> None:
        """Called by the trainer at every step. Raises CannotTrain."""
        if not logs or "loss" not in logs:
            return
        if not math.isfinite(logs["loss"]) or not math.isfinite(logs.get("grad_norm", 0.0)):
            what = "loss" if not math.isfinite(logs["loss"]) else "grad_norm"
            raise CannotTrain(
                f"training diverged: the {what.replace('grad_norm', 'gradient')} is {logs[what]} at step "
                f"{state.global_step}. Lower train.learning_rate (now {args.learning_rate:g}) or raise train.warmup. "
                "Checkpoints from before are kept, but a changed recipe starts anew."
            )
        wanted = {"loss", "grad_norm", "learning_rate"}
        self.tracker.metrics({k: float(v) for k, v in logs.items() if k in wanted}, state.global_step)
