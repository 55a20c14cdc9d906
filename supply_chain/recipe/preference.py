"""`train: {method: preference}`: learns which of two answers is the better one."""

from typing import Annotated, Any, Literal

from pydantic import Field, model_validator

from supply_chain.recipe.part import Part, ProjectPath
from supply_chain.recipe.train import Loop, Lora


class PairsFile(Part):
    """JSON lines that experts wrote: `{"text": …, "wrong": …, "right": …}`.

    Answers are a label, a list of labels or an object of fields. Texts of validation or test rows are refused.
    """

    kind: Literal["file"]
    path: ProjectPath


class Mistakes(Part):
    """The train rows that the model to start from gets wrong: the truth against its own answer."""

    kind: Literal["mistakes"]


class PreferenceTrain(Loop):
    """Direct preference optimization (Rafailov et al. 2023, arXiv:2305.18290) of a model that writes.

    `batch_size` counts pairs; `label_smoothing` is the share of pairs thought to be the wrong way round.
    """

    method: Literal["preference"]
    pairs: Annotated[PairsFile | Mistakes, Field(discriminator="kind")]
    start: str | None = None
    """The recipe whose full-precision weights are trained on; by default this recipe's base."""
    beta: float = Field(0.1, gt=0, le=10)
    """How much it costs to leave what the model was before: the higher, the closer it stays."""
    truth_weight: float = Field(0.0, ge=0, le=10)
    """Adds the right answer's mean loss a token, so that it does not become rarer, too (Pang et al. 2024,
    arXiv:2404.19733)."""
    tune: Literal["lora", "full"] = "lora"
    lora: Lora = Lora()
    learning_rate: float = Field(5e-5, gt=0, lt=1)

    @model_validator(mode="after")
    def _fits(self) -> "PreferenceTrain":
        if self.top_layers is not None:
            raise ValueError("top_layers keeps the states of single rows, preference takes pairs: leave top_layers out")
        if self.tune == "full" and self.lora != Lora():
            raise ValueError("tune is full, which leaves lora without a meaning: leave lora out")
        return self


def start_of(train: dict[str, Any]) -> Any:
    """The recipe that a raw `train` block of this method starts from."""
    return train.get("start") if train.get("method") == "preference" else None
