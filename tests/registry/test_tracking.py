import pytest
from mlflow import MlflowClient

from registry.server import tracking_server
from registry.tracking import MlflowTracker
from supply_chain.errors import Unavailable
from supply_chain.settings import Settings

KEY = "a" * 64


def test_a_resumed_stage_goes_on_in_its_run(settings: Settings):
    first = MlflowTracker(settings, "tiny_reviews", KEY)
    first.params({"rank": 2, "dtype": "float32"})
    first.params({"rank": 2})
    for step in (1, 2, 3):
        first.metrics({"loss": 3.0 - step}, step)

    again = MlflowTracker(settings, "tiny_reviews", KEY)
    assert again.run_id == first.run_id
    again.params({"rank": 2, "dtype": "bfloat16", "threads": 1})
    for step in (3, 4):
        again.metrics({"loss": 3.0 - step}, step)
    again.finished()

    client = MlflowClient(settings.tracking_uri)
    run = client.get_run(first.run_id)
    assert run.info.status == "FINISHED"
    assert run.data.params == {"rank": "2", "dtype": "float32", "threads": "1"}
    assert run.data.tags["supply_chain.resumed.dtype"] == "bfloat16"
    assert run.data.tags["supply_chain.key"] == KEY
    history = client.get_metric_history(first.run_id, "loss")
    assert sorted((m.step, m.value) for m in history) == [(1, 2.0), (2, 1.0), (3, 0.0), (4, -1.0)]


def test_another_identity_is_another_run(settings: Settings):
    first, second = MlflowTracker(settings, "tiny_reviews", KEY), MlflowTracker(settings, "tiny_reviews", "b" * 64)
    assert first.run_id != second.run_id


def test_a_finished_run_that_is_resumed_runs_again(settings: Settings):
    MlflowTracker(settings, "tiny_reviews", KEY).finished()
    again = MlflowTracker(settings, "tiny_reviews", KEY)
    assert MlflowClient(settings.tracking_uri).get_run(again.run_id).info.status == "RUNNING"


def test_more_params_than_one_request_takes(settings: Settings):
    tracker = MlflowTracker(settings, "tiny_reviews", KEY)
    tracker.params({f"p{i}": i for i in range(230)})
    assert len(MlflowClient(settings.tracking_uri).get_run(tracker.run_id).data.params) == 230


def test_a_deleted_experiment_is_said(settings: Settings):
    MlflowTracker(settings, "tiny_reviews", KEY)
    client = MlflowClient(settings.tracking_uri)
    client.delete_experiment(client.get_experiment_by_name("tiny_reviews").experiment_id)
    with pytest.raises(Unavailable, match="experiment 'tiny_reviews' was deleted: restore it"):
        MlflowTracker(settings, "tiny_reviews", KEY)


def test_a_server_that_is_gone_is_an_error_with_a_cure(settings: Settings, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
    with pytest.raises(Unavailable, match="SUPPLY_CHAIN_MLFLOW_URI"):
        MlflowTracker(settings.model_copy(update={"mlflow_uri": "http://127.0.0.1:9"}), "tiny_reviews", KEY)


def test_a_server_that_goes_away_midway_is_an_error(settings: Settings):
    tracker = MlflowTracker(settings, "tiny_reviews", KEY)
    client = MlflowClient(settings.tracking_uri)
    client.delete_run(tracker.run_id)
    with pytest.raises(Unavailable, match="run the same command again"):
        tracker.metrics({"loss": 1.0}, 1)


def test_two_homes_do_not_mix(settings: Settings, tmp_path):
    first = MlflowTracker(settings, "tiny_reviews", KEY)
    other = Settings(home=tmp_path / "other")
    second = MlflowTracker(other, "tiny_reviews", KEY)
    first.metrics({"loss": 1.0}, 1)
    with tracking_server(other) as client:
        assert client.get_run(second.run_id).data.metrics == {}
    with tracking_server(settings) as client:
        assert client.get_run(first.run_id).data.metrics == {"loss": 1.0}
