"""Reaches MLflow: quiet, bounded in time, and with its failures as Unavailable.

MLflow is imported when it is first reached, since that takes seconds.
"""

import logging
import os
import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

from filelock import FileLock

from supply_chain.errors import Unavailable, Unreachable
from supply_chain.settings import Settings

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from mlflow.entities import Run

T = TypeVar("T")
TAG = "supply_chain."
KEY = TAG + "key"
_ENVIRONMENT = {
    "MLFLOW_DISABLE_TELEMETRY": "true",
    "MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR": "false",
    "MLFLOW_UV_AUTO_DETECT": "false",
    "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "2",
    "MLFLOW_HTTP_REQUEST_TIMEOUT": "30",
}
"""Used where the environment says nothing."""


@contextmanager
def tracking_server(settings: Settings) -> Iterator["MlflowClient"]:
    """A client for `settings.tracking_uri`. Raises Unreachable for whatever MLflow fails with inside."""
    for name, value in _ENVIRONMENT.items():
        os.environ.setdefault(name, value)
    import mlflow  # noqa: PLC0415 (2.5 s)
    from mlflow.exceptions import MlflowException  # noqa: PLC0415

    logging.getLogger("mlflow").setLevel(logging.WARNING)
    logging.getLogger("alembic").setLevel(logging.WARNING)
    try:
        if settings.mlflow_uri is None:
            _lay_database(settings.home)
        # The model registry's SQL store looks up logged models at the address that is set here.
        mlflow.set_tracking_uri(settings.tracking_uri)
        mlflow.set_registry_uri(settings.tracking_uri)
        yield mlflow.MlflowClient(settings.tracking_uri, settings.tracking_uri)
    except (MlflowException, OSError) as error:
        raise Unreachable(
            f"MLflow at {settings.tracking_uri}: {_first_line(error)}. Nothing is lost: see that it answers "
            f"(SUPPLY_CHAIN_MLFLOW_URI says where) and run the same command again."
        ) from error


def retried(settings: Settings, work: Callable[["MlflowClient"], T]) -> T:
    """What `work` returns. It may be done twice: a locked database or a server's 503 is tried again.

    Raises Unavailable after three attempts, and at once where MLflow refuses or does not answer at all
    (over HTTP its client has tried again itself by then).
    """
    for delay in (0.5, 2.0, None):
        try:
            with tracking_server(settings) as client:
                return work(client)
        except Unavailable as error:
            if delay is None or getattr(error.__cause__, "error_code", "") != "TEMPORARILY_UNAVAILABLE":
                raise
            time.sleep(delay)
    raise AssertionError("unreachable")


def experiment_of(client: "MlflowClient", name: str, settings: Settings) -> str:
    """The id of a recipe's experiment, made if absent. Raises Unavailable if it was deleted."""
    from mlflow.exceptions import MlflowException  # noqa: PLC0415

    found = client.get_experiment_by_name(name)
    if found is None:
        try:
            return str(client.create_experiment(name, artifact_location=_artifacts(name, settings)))
        except MlflowException as error:
            if error.error_code != "RESOURCE_ALREADY_EXISTS":
                raise
            found = client.get_experiment_by_name(name)  # another process was faster
    if found is None or found.lifecycle_stage == "deleted":
        raise Unavailable(f"MLflow's experiment {name!r} was deleted: restore it (or delete it for good), run again")
    return str(found.experiment_id)


def run_of(client: "MlflowClient", experiment_id: str, key: str, name: str, tags: dict[str, str]) -> "Run":
    """The one run of an identity, found by its tag or made."""
    runs = client.search_runs([experiment_id], f"tags.`{KEY}` = '{key}'", max_results=1, order_by=["start_time ASC"])
    return runs[0] if runs else client.create_run(experiment_id, run_name=name, tags={KEY: key, **tags})


def _artifacts(name: str, settings: Settings) -> str | None:
    if settings.tracking_uri.startswith(("http://", "https://")):
        return None  # the server has its own place
    return str((settings.home / "mlflow-artifacts" / name).resolve())


def _lay_database(home: Path) -> None:
    """Makes the SQLite file aside and renames it: a process killed amid MLflow's first migrations

    would leave tables that every later start refuses.
    """
    target = home / "mlflow.db"
    if target.exists():
        return
    import mlflow  # noqa: PLC0415

    home.mkdir(parents=True, exist_ok=True)
    with FileLock(home / ".mlflow.lock"):
        if target.exists():
            return
        draft = home / f".mlflow-{uuid.uuid4().hex[:8]}.db"
        mlflow.MlflowClient(f"sqlite:///{draft.resolve()}").search_experiments(max_results=1)
        os.replace(draft, target)


def _first_line(error: Exception) -> str:
    lines = str(error).splitlines()
    return f"{type(error).__name__}: {lines[0][:300] if lines else ''}"
