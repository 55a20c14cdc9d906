"""When a recipe's chain runs by itself."""

from datetime import datetime, time
from functools import cache
from typing import Annotated
from zoneinfo import ZoneInfo, available_timezones

from cronsim import CronSim, CronSimError
from pydantic import AfterValidator, Field, model_validator

from supply_chain.recipe.part import Part


def _cron(value: str) -> str:
    if len(value.split()) != 5:
        raise ValueError("must have five fields: minute, hour, day, month, weekday (`0 3 * * 1`)")
    try:
        CronSim(value, datetime(2026, 1, 1))
    except CronSimError as error:
        raise ValueError(f"is no cron expression: {error}") from None
    return value


@cache
def _zones() -> set[str]:
    return available_timezones()  # walks the time zone folder: 50 ms


def _zone(value: str) -> str:
    if value not in _zones():
        raise ValueError(f"{value!r} is no time zone; expected a name such as Europe/Berlin")
    return value


Cron = Annotated[str, AfterValidator(_cron)]
TimeZone = Annotated[str, AfterValidator(_zone)]


class Schedule(Part):
    """A run at fixed times."""

    cron: Cron
    """Minute, hour, day of month, month, day of week: `0 3 * * 1` is Mondays at three."""
    timezone: TimeZone = "UTC"


class QuietHours(Part):
    """Hours in which no run starts because of new data; what became due starts when they end."""

    start: time
    end: time
    timezone: TimeZone = "UTC"

    @model_validator(mode="after")
    def _differ(self) -> "QuietHours":
        if self.start == self.end:
            raise ValueError("start and end are the same time: leave quiet_hours out, or on_new_data")
        return self

    def hold(self, now: datetime) -> bool:
        """Whether `now`, which must know its time zone, lies in them; `end` does not."""
        clock = now.astimezone(ZoneInfo(self.timezone)).time()
        if self.start < self.end:
            return self.start <= clock < self.end
        return clock >= self.start or clock < self.end


class Automate(Part):
    """When the chain runs without being asked. One run of a recipe at a time, always."""

    schedule: Schedule | None = None
    on_new_data: bool = False
    """Runs when the bytes of the source differ from those of the last curated data."""
    look_minutes: float = Field(15, ge=0)
    """How often a source is read for changes where that takes a download or a query; files are watched."""
    quiet_hours: QuietHours | None = None
    max_age_days: float | None = Field(None, gt=0)
    """A champion that was not confirmed by a run for so long is shown as stale."""
