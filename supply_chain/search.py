"""Trains a recipe with other values until its budget is spent; each trial is an ordinary, resumable training."""

import gc
import json
import logging
import shutil
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

from pydantic import ValidationError

from supply_chain.errors import CannotTrain
from supply_chain.identity import identity
from supply_chain.job import Job
from supply_chain.keys import adapter_key, search_key, study_key
from supply_chain.recipe.search import Search, with_values
from supply_chain.records import Compute, Trained, ValidationPoint
from supply_chain.sampling import hopeless, propose
from supply_chain.saving import copy_files
from supply_chain.store import R, Store, Stored, write_atomically
from supply_chain.tracking import Tracker
from supply_chain.training import train
from supply_chain.trials import Searched, TrialLog, Tried

log = logging.getLogger(__name__)
OpenRun = Callable[[str, str, str | None], Tracker]
"""Opens the tracking run of a key, of a stage (`search` or `trial`), below a parent's run."""


def search(job: Job, open_run: OpenRun) -> Stored[Searched]:
    """Tries values of `train` and stores what came of each; the best trial's weights are stored as its training's.

    Killed and started again, it goes on with the trial that was running, from that one's checkpoint.
    Raises CannotTrain when no trial could be trained, and what `train` raises for a machine or data at fault.
    """
    key = search_key(job)
    work = job.store.workdir(key)
    stored = job.store.once(Searched, key, lambda folder: _Search(job, key, work, open_run).run(folder))
    job.store.clear_work(key)
    return stored


class _GivenUp(Exception):
    """Ends a training that is not worth its time."""


class _Trials(Store):
    """Trials' weights lie in the search's own folder; all else is the project's."""

    def __init__(self, root: Path, project: Store):
        super().__init__(root)
        self.project = project

    def find(self, kind: type[R], key: str) -> Stored[R] | None:
        return self.project.find(kind, key) or (super().find(kind, key) if kind is Trained else None)

    def once(self, kind: type[R], key: str, make: Callable[[Path], R]) -> Stored[R]:
        if kind is not Trained:
            return self.project.once(kind, key, make)
        return self.project.find(kind, key) or super().once(kind, key, make)

    def keep_only(self, key: str) -> None:
        """Removes the weights of all trials but one."""
        for path in (self.root / Trained.kind).glob("[0-9a-f]*"):
            if path.name != key:
                shutil.rmtree(path)


class _Search:
    def __init__(self, job: Job, key: str, work: Path, open_run: OpenRun):
        assert job.recipe.search is not None
        self.job, self.key, self.work, self.open_run = job, key, work, open_run
        self.spec: Search = job.recipe.search
        self.log = TrialLog(work / "trials.json")
        self.store = _Trials(work / "store", job.store)
        self.tracker = open_run(key, "search", None)
        if not self.log.trials:
            self._take_over()

    def run(self, folder: Path) -> Searched:
        job, ranges = self.job, {key: r.model_dump(exclude_defaults=True) for key, r in self.spec.ranges.items()}
        self.tracker.params({"recipe": job.recipe.name, "budget.trials": self.spec.trials, **ranges})
        while (trial := self._next()) is not None:
            self._try(trial)
            best = self.log.best
            if best is not None and best.best is not None:
                self.store.keep_only(adapter_key(self._job(best)))
                self.tracker.metrics({f"best_validation_{job.recipe.evaluate.metric}": best.best}, trial.number)
        found = self._outcome(folder)
        self.tracker.finished()
        return found

    def _take_over(self) -> None:
        """Begins with the trials of an earlier search that had another budget."""
        study = study_key(self.job)
        earlier = (stored.record.trials for stored in self.job.store.all(Searched) if stored.record.study == study)
        for tried in max(earlier, key=len, default=[])[: self.spec.trials]:
            self.log.put(tried)

    def _next(self) -> Tried | None:
        """The interrupted trial, or a new one; None when the budget is spent."""
        trials = self.log.trials
        if trials and trials[-1].outcome == "running":
            return trials[-1]
        if len(trials) >= self.spec.trials or (trials and self._late(self.log.seconds)):
            return None
        values = propose(self.spec, self.job.recipe.train, trials, self.job.settings.seed)
        same = next((t for t in trials if t.values == values), None)
        if same is not None:
            update = {"number": len(trials), "seconds": 0.0, "why": f"has the values of trial {same.number}"}
            return self.log.put(same.model_copy(update=update))
        return self.log.put(Tried(number=len(trials), values=values))

    def _try(self, trial: Tried) -> None:
        if trial.outcome != "running":
            return
        began = time.perf_counter() - trial.seconds
        tracker = self.open_run(self._run_key(trial), "trial", self.tracker.run_id)
        tracker.params({"trial": trial.number, **trial.values})
        watch = _Measured(tracker, f"validation_{self.job.recipe.evaluate.metric}", lambda p: self._note(p, began))
        try:
            self._judge()
            record = train(self._job(trial), lambda key: watch).record
            best = max(point.value for point in record.validation)
            update = {"outcome": "finished", "best": best, "measured": record.validation}
            self._settle(record.compute)
        except _GivenUp as end:
            update = {"outcome": "pruned", "why": str(end)}
        except (CannotTrain, ValidationError) as error:
            update = {"outcome": "failed", "why": str(error)}
        running = self.log.trials[-1]
        done = running.model_copy(update={**update, "seconds": time.perf_counter() - began})
        if done.outcome != "finished":
            tracker.params({"outcome": f"{done.outcome}: {done.why}"[:500]})
            tracker.finished()
        shutil.rmtree(self.store.root / "work", ignore_errors=True)
        self.log.put(done)
        log.info("trial %d of %d: %s %s", trial.number + 1, self.spec.trials, done.outcome, done.best or done.why)
        gc.collect()  # a model that was given up goes before the next one is read

    def _note(self, point: ValidationPoint, began: float) -> None:
        running = self.log.trials[-1]
        if point.step in {p.step for p in running.measured}:
            return  # measured before a kill
        update = {"measured": [*running.measured, point], "seconds": time.perf_counter() - began}
        self.log.put(running.model_copy(update=update))
        self._judge()

    def _judge(self) -> None:
        """Raises _GivenUp when the running trial falls behind, or the budget is spent and there is a result."""
        *before, running = self.log.trials
        if hopeless(self.spec, self.job.recipe.train, before, running):
            raise _GivenUp(f"behind the median after {len(running.measured)} measurements")
        if running.measured and self.log.finished and self._late(self.log.seconds):
            raise _GivenUp(f"search.minutes ({self.spec.minutes:g}) are over")

    def _late(self, seconds: float) -> bool:
        return self.spec.minutes is not None and seconds >= 60 * self.spec.minutes

    def _job(self, trial: Tried) -> Job:
        recipe, settings = self.job.recipe, self.job.settings
        if (self.work / "compute.json").exists() and settings.compute is None:
            settled = Compute.model_validate_json((self.work / "compute.json").read_bytes())
            if settled.device == "cpu":
                settings = settings.model_copy(
                    update={"compute": f"{settled.dtype}:{settled.attention}:{settled.threads}"}
                )
        changed = recipe.model_copy(update={"train": with_values(recipe.train, trial.values), "search": None})
        return replace(self.job, recipe=changed, store=self.store, settings=settings)

    def _settle(self, compute: Compute) -> None:
        """Arithmetic is timed once; the other trials take it over."""
        if not (self.work / "compute.json").exists():
            write_atomically(self.work / "compute.json", compute.model_dump_json())

    def _run_key(self, trial: Tried) -> str:
        return identity("trial", 1, search=self.key, number=trial.number)

    def _outcome(self, folder: Path) -> Searched:
        best = self.log.best
        if best is None or best.best is None:
            causes = "\n".join(f"  trial {t.number}: {t.why}" for t in self.log.trials)
            raise CannotTrain(f"search: none of {len(self.log.trials)} trials could be trained\n{causes}")
        job, key = self.job, adapter_key(self._job(best))
        won = self.store.find(Trained, key)
        if won is not None:  # else the weights were cleaned away since an earlier search, and are made from the values
            job.store.once(Trained, key, lambda target: _copied(won, target))
        told = [t.model_dump(mode="json", exclude={"seconds"}) for t in self.log.trials]
        (folder / "trials.json").write_text(json.dumps(told, indent=1), encoding="utf-8")
        return Searched(
            metric=job.recipe.evaluate.metric,
            trials=self.log.trials,
            best=best.number,
            value=best.best,
            values=best.values,
            adapter_key=key,
            study=study_key(job),
            base_digest=job.base.digest,
            splits_digest=job.splits.digest,
            tracking_run=self.tracker.run_id,
        )


def _copied(won: Stored[Trained], folder: Path) -> Trained:
    copy_files(won.verify().path, folder)
    return won.record


class _Measured:
    """A trial's tracker, which tells the search what was measured on validation rows."""

    def __init__(self, inner: Tracker, name: str, note: Callable[[ValidationPoint], None]):
        self.inner, self.name, self.note = inner, name, note

    @property
    def run_id(self) -> str | None:
        return self.inner.run_id

    def params(self, values: dict[str, object]) -> None:
        self.inner.params(values)

    def metrics(self, values: dict[str, float], step: int) -> None:
        self.inner.metrics(values, step)
        if self.name in values:
            self.note(ValidationPoint(step=step, value=values[self.name]))

    def finished(self) -> None:
        self.inner.finished()
