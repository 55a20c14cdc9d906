"""Starts heavy stages in worker processes and turns our errors into Dagster failures."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import dagster as dg
from dagster._core.pipes.client import PipesClientCompletedInvocation

from assets.project import Project
from assets.refs import Ref
from assets.stages import shares_imports
from supply_chain.errors import SupplyChainError, Unreachable
from supply_chain.store import Record, Stored

_SLOT = "worker"  # a file lock, not a Dagster pool: the system frees it when its holder is killed


class Workshop:
    """Makes a stored object in a worker process unless the store has it; one worker at a time on a machine."""

    def __init__(self, project: Project, context: dg.AssetExecutionContext):
        self.project, self.context = project, context

    def make(
        self, kind: type[Record], key: str, stage: str, inputs: dict[str, Stored], options: dict[str, Any]
    ) -> Stored:
        """The object of `key`; its stage runs only if it is missing. Raises Failure."""
        found = self.project.store.find(kind, key)
        if found is not None:
            self.context.log.info(f"{stage}: unchanged ({key[:12]})")
            return found
        extras = {
            "stage": stage,
            "inputs": {name: Ref.to(stored).model_dump() for name, stored in inputs.items()},
            "options": options,
        }
        try:
            with self.project.store.locked(_SLOT):
                done = self.context.resources.pipes.run(
                    context=self.context,
                    extras=extras,
                    env=self.project.settings.environment(),
                    fork=shares_imports(stage, inputs, options),
                )
        except dg.DagsterError as error:
            raise dg.Failure(
                f"the worker of stage {stage} ended before it was done ({error}). Killed by the system, it most likely "
                "ran out of memory: lower train.batch_size. What it had finished is kept: run again to go on.",
                metadata={"error": "WorkerEnded"},
                allow_retries=False,
            ) from None
        return self._outcome(done, stage)

    def _outcome(self, done: PipesClientCompletedInvocation, stage: str) -> Stored:
        message = next(iter(done.get_custom_messages()), None)
        if message is None:
            raise failure("WorkerEnded", f"the worker of stage {stage} reported nothing")
        if "error" in message:
            raise failure(message["error"], message["message"])
        return Ref(**message["ref"]).load(self.project.store)


class Stopped(dg.DagsterError, dg.DagsterExecutionInterruptedError):
    """A person stopped the run: a step's retry policy would begin an interrupted step again, but not one that ends
    with an error of Dagster's own."""


@contextmanager
def explained() -> Iterator[None]:
    """Shows our own errors as the failure's description, without a traceback. Raises Failure or Stopped."""
    try:
        yield
    except dg.DagsterExecutionInterruptedError:
        raise Stopped("stopped") from None
    except SupplyChainError as error:
        raise failure(type(error).__name__, str(error)) from None


def failure(kind: str, message: str) -> dg.Failure:
    """A failure; only what did not answer may do so at the next try, where its step has a retry policy."""
    again = kind == Unreachable.__name__
    return dg.Failure(description=message, metadata={"error": kind}, allow_retries=again)
