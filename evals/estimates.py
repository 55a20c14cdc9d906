"""What a figure is on a report: measured on rows, with an interval."""

from pydantic import BaseModel, ConfigDict


class Evidence(BaseModel):
    """A frozen part of a stored record."""

    model_config = ConfigDict(frozen=True, extra="forbid")


class Estimate(Evidence):
    """A mean over `n` rows and its 95 % interval."""

    mean: float
    low: float
    high: float
    n: int
