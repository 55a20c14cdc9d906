"""`report.json`: everything the report shows, for programs; `report.schema.json` is its JSON Schema."""

import json
from pathlib import Path

from pydantic import BaseModel, ConfigDict

from evals.records import Scorecard, Verdict
from supply_chain.recipe import Recipe
from supply_chain.records import Splits

SCHEMA = Path(__file__).with_name("report.schema.json")


class Mistake(BaseModel):
    """One test row that the candidate got wrong; of written answers, what differs."""

    model_config = ConfigDict(frozen=True, extra="forbid")
    text: str
    truth: str
    answer: str
    confidence: float
    usd: float


class ReportTwin(BaseModel):
    """The report as data."""

    model_config = ConfigDict(frozen=True, extra="forbid")
    recipe: Recipe
    verdict: Verdict
    scorecard: Scorecard
    data: Splits
    lineage: dict[str, str]
    """SHA-256 by what it is of."""
    mistakes: dict[str, list[Mistake]]
    """`most_confident` and `most_costly`."""


def schema_text() -> str:
    """What `report.schema.json` must hold. Write it anew after a change of these records:

    `python -c "from evals.twin import *; SCHEMA.write_text(schema_text())"`
    """
    schema = {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        **ReportTwin.model_json_schema(mode="serialization"),
    }
    return json.dumps(schema, indent=2, sort_keys=True, ensure_ascii=False) + "\n"
