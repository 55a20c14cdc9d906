"""Tells people that a run failed, and that another version serves."""

import json
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

import dagster as dg

from assets.project import Project
from assets.runs import RECIPE
from registry.decisions import Log, Moved
from registry.delivery import post
from registry.fleet import Fleet, Notices
from registry.mail import send
from registry.past import log_rows
from supply_chain.errors import InvalidInput, Unavailable

_POLL_S, _LOOK_BACK = 30, timedelta(minutes=5)


@dataclass(frozen=True)
class Notice:
    """One thing to tell; `id` lets a receiver drop what it was told twice."""

    id: str
    kind: str
    subject: str
    text: str


def notice_sensors(project: Project) -> list[dg.SensorDefinition]:
    """The sensor of notices, if the fleet policy names somebody to tell; of a faulty one each tick tells."""
    with suppress(InvalidInput):
        if project.fleet.notices is None:
            return []

    @dg.sensor(
        name="notices",
        minimum_interval_seconds=_POLL_S,
        default_status=dg.DefaultSensorStatus.RUNNING,
        description="Tells of failed runs and of every change of champion, also those that people make.",
    )
    def notices(context: dg.SensorEvaluationContext) -> dg.SkipReason:
        told = _told(context, project)
        return dg.SkipReason(f"told {told}" if told else "nothing to tell")

    return [notices]


def _told(context: dg.SensorEvaluationContext, project: Project) -> int:
    """Tells what is new; what was not taken is told again with the next tick. Raises Unavailable."""
    log, policy = Log(project.settings.home).entries(), project.fleet.notices
    assert policy is not None
    if context.cursor is None:  # the past is no news
        context.update_cursor(_cursor(len(log), datetime.now(UTC), [run.id for run in _failed(context, None)]))
        return 0
    state = json.loads(context.cursor)
    count, since, told = 0, datetime.fromisoformat(state["since"]), list(state["runs"])
    for entry in log[state["entries"] :]:
        if isinstance(entry.entry.what, Moved):
            row = log_rows([entry], None)[0]
            _tell(Notice(entry.sha256, "champion", row["what"], f"{row['who']}: {row['why']}"), policy, project.fleet)
            count += 1
        state["entries"] = entry.entry.entry
        context.update_cursor(_cursor(state["entries"], since, told))
    for run in _failed(context, since - _LOOK_BACK):
        if run.id not in told:
            _tell(run, policy, project.fleet)
            told.append(run.id)
            count += 1
            context.update_cursor(_cursor(state["entries"], since, told))
    context.update_cursor(_cursor(state["entries"], datetime.now(UTC), told[-100:]))
    return count


def _cursor(entries: int, since: datetime, told: list[str]) -> str:
    return json.dumps({"entries": entries, "since": since.isoformat(), "runs": told})


def _failed(context: dg.SensorEvaluationContext, since: datetime | None) -> Iterator[Notice]:
    found = dg.RunsFilter(statuses=[dg.DagsterRunStatus.FAILURE], updated_after=since)
    for record in context.instance.get_run_records(found, limit=100):
        run = record.dagster_run
        name = run.tags.get(RECIPE) or ", ".join(sorted({key.path[0] for key in run.asset_selection or ()})) or "a run"
        yield Notice(run.run_id, "failure", f"{name} failed", _reason(run.run_id, context.instance))


def _reason(run_id: str, instance: dg.DagsterInstance) -> str:
    """The first step that failed and why."""
    for event in instance.all_logs(run_id, of_type=dg.DagsterEventType.STEP_FAILURE):
        failed = event.dagster_event
        data = failed.step_failure_data if failed else None
        if failed is not None and data is not None:
            own = data.user_failure_data.description if data.user_failure_data else None
            step = (failed.step_key or "").rpartition("__")[2]
            return f"{step}: {own or (data.error.message if data.error else 'unknown')}"
    return "it ended before its first step; its log is in the Dagster UI"


def _tell(notice: Notice, policy: Notices, fleet: Fleet) -> None:
    faults = []
    try:
        if policy.webhook is not None:
            post(policy.webhook, {"fleet": fleet.name, **notice.__dict__})
    except (OSError, ValueError, InvalidInput) as error:
        faults.append(f"webhook: {error}")
    try:
        if policy.email is not None:
            send(policy.email, f"[{fleet.name}] {notice.subject}", notice.text)
    except (OSError, ValueError, InvalidInput) as error:
        faults.append(f"mail: {error}")
    if faults:
        raise Unavailable(f"{notice.subject}: nobody could be told ({'; '.join(faults)}); it is tried again")
