"""What a comparison of service with evaluation found."""

from pydantic import AwareDatetime

from evals.estimates import Evidence


class Drift(Evidence):
    """Feedback about one champion against its evaluation."""

    model: str
    version: int
    at: AwareDatetime
    rows: int
    label_psi: float
    confidence_psi: float
    p_value: float
    """Chi-square's for the labels and the confidences, the smaller of the two doubled (Bonferroni)."""
    drifted: bool

    @property
    def sentence(self) -> str:
        """For people."""
        words = "drifts" if self.drifted else "no drift"
        return f"{words}: PSI {self.label_psi:.2f} labels, {self.confidence_psi:.2f} confidence, {self.rows} rows"
