"""The `evaluate.decoding` block: the settings of writing that are tried on validation rows."""

from itertools import product
from typing import Annotated

from pydantic import Field, model_validator

from supply_chain.recipe.part import Part

_MOST = 24
Temperature = Annotated[float, Field(ge=0, le=2)]
Nucleus = Annotated[float, Field(gt=0, le=1)]
Penalty = Annotated[float, Field(ge=1, le=2)]
Room = Annotated[int, Field(ge=1, le=4096)]


class Setting(Part):
    """One way of writing: the likeliest token each time (temperature 0), or drawn ones."""

    temperature: Temperature = 0.0
    top_p: Nucleus = 1.0
    """Tokens are drawn from the likeliest that together have this probability."""
    repetition_penalty: Penalty = 1.0
    """Divides the positive logits of tokens that the prompt or the answer holds already, multiplies negative ones."""
    max_new_tokens: Room | None = None
    """None: a quarter more than the longest answer of the train split."""

    @property
    def greedy(self) -> bool:
        """Whether the model's likeliest token is always taken, as it stands."""
        return self.temperature == 0 and self.repetition_penalty == 1


class DecodingGrid(Part):
    """Every combination is tried with the stored weights of each format; the best by `evaluate.metric` is kept in them.

    A joint choice of model and parameters (as HAPS makes it for each request, Tian et al. 2026, arXiv:2601.05903),
    made once for the whole route.
    """

    temperature: list[Temperature] = Field([0.0], min_length=1)
    top_p: list[Nucleus] = Field([1.0], min_length=1)
    repetition_penalty: list[Penalty] = Field([1.0], min_length=1)
    max_new_tokens: list[Room] = []
    """None given: a quarter more than the longest answer of the train split."""
    rows: int = Field(100, ge=10)
    """Validation rows, at most: the first groups."""

    @property
    def settings(self) -> list[Setting]:
        """Every combination once, in the recipe's order; where nothing is drawn, `top_p` says nothing."""
        rooms: list[int | None] = [*self.max_new_tokens] or [None]
        found = [
            Setting(temperature=temperature, top_p=top_p, repetition_penalty=penalty, max_new_tokens=room)
            for temperature, top_p, penalty, room in product(
                self.temperature, self.top_p, self.repetition_penalty, rooms
            )
        ]
        return list(dict.fromkeys(s if s.temperature else s.model_copy(update={"top_p": 1.0}) for s in found))

    @model_validator(mode="after")
    def _few(self) -> "DecodingGrid":
        if len(self.settings) > _MOST:
            raise ValueError(f"{len(self.settings)} combinations; each writes every row once more: at most {_MOST}")
        return self
