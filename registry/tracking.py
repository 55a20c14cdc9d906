"""Progress of heavy stages in MLflow: one run an identity, so that a resumed stage goes on in its run."""

from itertools import islice

from registry.server import TAG, experiment_of, run_of, tracking_server
from supply_chain.settings import Settings

_BATCH = 100


class MlflowTracker:
    """A `supply_chain.tracking.Tracker`. Opening it, and every call, raises Unavailable if MLflow fails."""

    def __init__(self, settings: Settings, recipe: str, key: str, stage: str = "train", parent: str | None = None):
        """Opens the run of `key` (the stage's identity) in the recipe's experiment, below `parent`, or goes on."""
        self.settings = settings
        tags = {TAG + "stage": stage, **({"mlflow.parentRunId": parent} if parent else {})}
        with tracking_server(settings) as client:
            experiment = experiment_of(client, recipe, settings)
            run = run_of(client, experiment, key, f"{stage} {key[:12]}", tags)
            if run.info.status != "RUNNING":
                client.update_run(run.info.run_id, status="RUNNING")
            self._id = str(run.info.run_id)
            self._params: dict[str, str] = dict(run.data.params)
            histories = {name: client.get_metric_history(self._id, name) for name in run.data.metrics}
        self._steps = {(name, point.step) for name, points in histories.items() for point in points}

    @property
    def run_id(self) -> str | None:
        """MLflow's id of the run."""
        return self._id

    def params(self, values: dict[str, object]) -> None:
        """Records decisions. One that another attempt recorded otherwise stays and gets a tag with the new value."""
        from mlflow.entities import Param, RunTag  # noqa: PLC0415

        texts = {name: str(value) for name, value in values.items()}
        new = [Param(name, text) for name, text in texts.items() if name not in self._params]
        tags = [
            RunTag(f"{TAG}resumed.{name}", text) for name, text in texts.items() if self._params.get(name, text) != text
        ]
        with tracking_server(self.settings) as client:
            rest = iter(new)
            while batch := list(islice(rest, _BATCH)):
                client.log_batch(self._id, params=batch)
            if tags:
                client.log_batch(self._id, tags=tags)
        self._params = {**texts, **self._params}

    def metrics(self, values: dict[str, float], step: int) -> None:
        """Records measurements of one step; those that an earlier attempt recorded are left as they are."""
        from mlflow.entities import Metric  # noqa: PLC0415
        from mlflow.utils.time import get_current_time_millis  # noqa: PLC0415

        now = get_current_time_millis()
        new = {name: value for name, value in values.items() if (name, step) not in self._steps}
        with tracking_server(self.settings) as client:
            client.log_batch(self._id, metrics=[Metric(name, value, now, step) for name, value in new.items()])
        self._steps |= {(name, step) for name in new}

    def finished(self) -> None:
        """Marks the run as finished."""
        with tracking_server(self.settings) as client:
            client.set_terminated(self._id, "FINISHED")
