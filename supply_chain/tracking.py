"""How stages report progress without knowing the tracking server."""

from typing import Protocol


class Tracker(Protocol):
    """One run on a tracking server."""

    @property
    def run_id(self) -> str | None:
        """The run's id, or None when nothing is tracked."""

    def params(self, values: dict[str, object]) -> None:
        """Records what was decided."""

    def metrics(self, values: dict[str, float], step: int) -> None:
        """Records what was measured at one step."""

    def finished(self) -> None:
        """Marks the run as whole."""


class NoTracker:
    """Tracks nothing."""

    run_id: str | None = None

    def params(self, values: dict[str, object]) -> None:
        """Drops `values`."""

    def metrics(self, values: dict[str, float], step: int) -> None:
        """Drops `values`."""

    def finished(self) -> None:
        """Has nothing to close."""
