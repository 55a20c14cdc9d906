"""`serving.json`: what an artifact's folder says about how to ask it and how to read its answer."""

from pathlib import Path

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from supply_chain.calibration import Calibration
from supply_chain.decoding import Chosen
from supply_chain.errors import CorruptData
from supply_chain.escalation import Escalation
from supply_chain.identity import canonical_json
from supply_chain.recipe.data import Task
from supply_chain.recipe.decoding import Setting
from supply_chain.recipe.prompt import Prompt

FILE = "serving.json"


class Serving(BaseModel):
    """Prompt block, labels in order, the renderer's identity, and how an answer is found.

    Labels are ranked by likelihood and calibrated; other tasks write `max_new_tokens` at most.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")
    prompt: Prompt
    labels: list[str]
    prompt_sha256: str
    calibration: Calibration = Calibration()
    task: Task = "classification"
    max_new_tokens: int = 0
    escalation: Escalation | None = None
    decoding: Chosen | None = Field(None, exclude_if=lambda value: value is None)
    """How answers are written, and what else was tried; None: greedily."""

    @property
    def setting(self) -> Setting:
        """How tokens are picked."""
        return self.decoding.setting if self.decoding else Setting()

    def write(self, folder: Path) -> None:
        """Writes `serving.json` into an artifact's folder."""
        (folder / FILE).write_text(canonical_json(self), encoding="utf-8")


def read_serving(folder: Path) -> Serving:
    """What an artifact's folder says. Raises CorruptData."""
    try:
        return Serving.model_validate_json((folder / FILE).read_text(encoding="utf-8"))
    except (OSError, ValidationError) as error:
        raise CorruptData(f"{folder / FILE} cannot be read: {error}") from error
