"""Feedback that differs from the evaluation starts one run of that recipe, once for a champion."""

import json
from datetime import UTC, datetime, timedelta

import dagster as dg
import pytest

from assets.definitions import build
from assets.project import Project
from assets.runs import RECIPE
from registry.decisions import Act, Log, Moved
from review.fleet import specialists
from supply_chain.errors import InvalidRecipe
from tests.assets.conftest import load
from tests.registry.conftest import empty_mlflow, settings  # noqa: F401 (fixtures)
from tests.review.conftest import Site, site  # noqa: F401 (fixture)

NAME = "tiny_reviews"


def look(project: Project, instance: dg.DagsterInstance, cursor: str | None = None) -> dg.SensorResult:
    repository = build(project).get_repository_def()
    with dg.build_sensor_context(instance=instance, repository_def=repository, cursor=cursor) as context:
        return repository.get_sensor_def("drift")(context)


def test_drift_starts_one_run(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:  # noqa: F811
    monkeypatch.delenv("DAGSTER_HOME", raising=False)
    project = Project(site.settings)
    path = site.settings.recipes / f"{NAME}.yaml"
    path.write_text(path.read_text() + "automate: {on_drift: {path: feedback.jsonl, min_rows: 100}}\n")
    feedback, later = site.settings.root / "feedback.jsonl", datetime.now(UTC) + timedelta(hours=1)

    def serve(labels: list[str], times: int) -> None:
        rows = [{"label": label, "confidence": 0.8, "when": later.isoformat()} for label in labels * times]
        feedback.write_text("".join(json.dumps(row) + "\n" for row in rows))

    with dg.instance_for_test() as instance:
        serve(["positive"], 300)
        assert look(project, instance).run_requests == [], "nothing serves yet"
        claims = site.release().claims()
        moved = Moved(action="promote", model=NAME, version=1, replaced=None, claims=claims)
        Log(site.settings.home).append(moved, Act("ada", "x"))
        serve(["positive", "neutral", "negative"], 30)
        few = look(project, instance)
        assert few.run_requests == [] and specialists(site.settings)[0].drift is None, "fewer than min_rows"
        serve(["positive", "neutral", "negative"], 100)
        even = look(project, instance, few.cursor)
        assert even.run_requests == []
        assert specialists(site.settings)[0].drift.sentence.startswith("no drift: PSI 0.")
        serve(["positive"], 300)
        (request,) = look(project, instance, even.cursor).run_requests
        assert request.run_key == f"{NAME}:drift:1" and request.tags[RECIPE] == NAME
        assert {key.path[0] for key in request.asset_selection} == {NAME, "base_models"}
        assert specialists(site.settings)[0].drift.drifted
        serve(["negative"], 400)
        assert [r.run_key for r in look(project, instance, even.cursor).run_requests] == [request.run_key]
        Log(site.settings.home).append(moved.model_copy(update={"version": 2, "replaced": 1}), Act("ada", "new"))
        assert specialists(site.settings)[0].drift is None, "another champion starts anew"


def test_feedback_stays_inside_the_project(project: Project) -> None:
    with pytest.raises(InvalidRecipe, match="leads out of the project"):
        load(project, ("route: ", "automate: {on_drift: {path: ../../x.jsonl}}\nroute: "))
