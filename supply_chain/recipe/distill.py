"""`train: {method: distill}`: a smaller student that learns from a teacher."""

from typing import Annotated, Literal

from pydantic import Field, model_validator

from supply_chain.recipe.endpoint import Endpoint
from supply_chain.recipe.part import Part
from supply_chain.recipe.train import Loop


class Teacher(Part):
    """Another recipe's specialist, an untuned base model, or a model behind an endpoint."""

    recipe: str | None = None
    """The recipe whose full-precision weights teach."""
    base: str | None = None
    """A name in `base_models.yaml`."""
    endpoint: Endpoint | None = Field(None, exclude_if=lambda value: value is None)
    """An OpenAI-compatible chat endpoint."""

    @model_validator(mode="after")
    def _one(self) -> "Teacher":
        if sum(one is not None for one in (self.recipe, self.base, self.endpoint)) != 1:
            raise ValueError("name one teacher: recipe, base or endpoint")
        return self


class LogitsObjective(Part):
    """Learns the teacher's distribution beside the truth (Hinton et al. 2015, arXiv:1503.02531).

    The teacher's log-probabilities are computed once and stored. For a student with a head they are over
    labels and fit any vocabulary; for one that writes, over the tokens of each answer.
    """

    kind: Literal["logits"] = "logits"
    truth_weight: float = Field(0.5, ge=0, le=1)
    """Weight of cross-entropy with the truth; the rest is the divergence from the teacher."""
    temperature: float = Field(2.0, gt=0, le=20)
    top_tokens: int = Field(32, ge=1, le=1024, exclude_if=lambda value: value == 32)
    """A student that writes: how many of the teacher's likeliest tokens are kept at each place."""


class SequenceObjective(Part):
    """Learns the answers that the teacher gives (Kim and Rush 2016, arXiv:1606.07947)."""

    kind: Literal["sequence"]
    disagreement: Literal["drop", "truth", "teacher"] = "drop"
    """A row where teacher and truth differ is left out, keeps its truth, or takes the teacher's answer."""
    confidence: float = Field(0.0, ge=0, lt=1)
    """Rows of which the teacher is less sure than this keep their truth."""


class OnPolicyObjective(Part):
    """The student writes answers to the train rows itself and is moved towards the teacher at each of their tokens
    (Agarwal et al. 2023, arXiv:2306.13649), by TRL's `DistillationTrainer`.

    It so learns to go on from its own mistakes. The rows' own answers say how long one may be, and nothing else.
    """

    kind: Literal["on_policy"]
    beta: float = Field(1.0, ge=0, le=1)
    """Which divergence: 0 is KL(teacher ‖ student), 1 the reverse, between them the generalized Jensen-Shannon one."""
    temperature: float = Field(1.0, gt=0, le=20)
    """Of what the student draws, and of both distributions."""


class Cut(Part):
    """Keeps only some of the teacher's layers; the student starts from their weights."""

    layers: int = Field(ge=1)
    choose: Literal["importance", "even"] = "importance"
    """`importance` drops the layers that change their input least (Men et al. 2024, arXiv:2403.03853)."""
    rows: int = Field(128, ge=1, le=10_000)
    """Train rows that importance is measured on."""


class DistillTrain(Loop):
    """A student learns what its teacher knows; all its weights are trained."""

    method: Literal["distill"]
    teacher: Teacher
    objective: Annotated[LogitsObjective | SequenceObjective | OnPolicyObjective, Field(discriminator="kind")] = (
        LogitsObjective()
    )
    student: Cut | None = None
    """Cut from the teacher; by default the recipe's base."""
    answers: Literal["head", "words"] = Field("head", exclude_if=lambda value: value == "head")
    """A head of labels (one forward pass), or the model's own words, which every other task than classification
    needs and takes by default."""
    pooling: Literal["last", "mean"] = "last"
    """What the head reads; a student cut from a teacher with a head reads what its teacher reads."""
