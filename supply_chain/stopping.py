"""Early stopping on the recipe's own metric: the best weights are kept, whatever comes after them."""

import json
import os
import random
import shutil
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from transformers import TrainerCallback

from supply_chain.recipe.train import Stopping
from supply_chain.records import Example, ValidationPoint
from supply_chain.store import write_atomically
from supply_chain.together import agreed, leads

Measure = Callable[[], float]
Save = Callable[[Path], None]


class KeepBest(TrainerCallback):
    """Measures at every epoch's end or every few steps, keeps the best weights in `work`, and stops.

    What was measured is kept beside them by step, so that a resumed run neither measures a step
    twice nor counts one that it has not reached.
    """

    def __init__(self, spec: Stopping, measure: Measure, save: Save, work: Path, note: Callable[[float, int], None]):
        self.spec, self.measure, self.save, self.note = spec, measure, save, note
        self.history, self.folder = work / "validation.json", work / "best"

    @property
    def points(self) -> list[ValidationPoint]:
        """Everything measured so far, by step."""
        if not self.history.exists():
            return []
        return [ValidationPoint.model_validate(point) for point in json.loads(self.history.read_text())]

    @property
    def best(self) -> ValidationPoint | None:
        """The first of the highest values, or None before any was measured."""
        return max(self.points, key=lambda point: point.value, default=None)

    def on_step_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        """Called by the trainer after every step."""
        if self.spec.every_steps and state.global_step % self.spec.every_steps == 0:
            self._measure(state.global_step, control)

    def on_epoch_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        """Called by the trainer after every epoch."""
        if not self.spec.every_steps:
            self._measure(state.global_step, control)

    def on_train_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        """The last step counts, too, wherever it falls."""
        self._measure(state.global_step, control)

    def _measure(self, step: int, control: Any) -> None:
        if leads():
            self._measure_here(step, control)
        control.should_training_stop = agreed(control.should_training_stop)

    def _measure_here(self, step: int, control: Any) -> None:
        before = [point for point in self.points if point.step < step]
        known = next((point for point in self.points if point.step == step), None)
        point = known or ValidationPoint(step=step, value=self.measure())
        if known is None:
            self.note(point.value, step)
            if all(point.value > other.value for other in before):
                self._keep()
            write_atomically(self.history, json.dumps([p.model_dump() for p in [*before, point]]))
        reached = [*before, point]
        best = max(reached, key=lambda p: p.value)
        if len(reached) - 1 - reached.index(best) >= self.spec.patience:
            control.should_training_stop = True

    def _keep(self) -> None:
        draft = self.folder.with_name(".best")
        shutil.rmtree(draft, ignore_errors=True)
        draft.mkdir()
        self.save(draft)
        shutil.rmtree(self.folder, ignore_errors=True)
        os.rename(draft, self.folder)


def measured_rows(rows: Sequence[Example], spec: Stopping, seed: int) -> list[Example]:
    """The validation rows to measure on: all, or a seeded sample."""
    if spec.rows is None or spec.rows >= len(rows):
        return list(rows)
    return random.Random(seed).sample(list(rows), spec.rows)  # noqa: S311 (not for secrets)


def metric_of(name: str, labels: Sequence[str], truth: Sequence[int], answers: Sequence[int]) -> float:
    """Accuracy or macro-F1, as evaluation takes them; `truth` and `answers` are indices into `labels`."""
    from sklearn.metrics import accuracy_score, f1_score  # noqa: PLC0415 (only where it is asked for)

    if name == "accuracy":
        return float(accuracy_score(truth, answers))
    return float(f1_score(truth, answers, labels=range(len(labels)), average="macro", zero_division=0))
