"""The `train` block: how a specialist's weights are made. Each method is a variant of one recipe."""

import difflib
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, Field, model_validator

from supply_chain.recipe.continual import Continued
from supply_chain.recipe.part import Part


class Stopping(Part):
    """Measures the recipe's own metric on validation rows while training, and keeps the best weights."""

    every_steps: int | None = Field(None, ge=1)
    """Steps between measurements; by default one after every epoch."""
    patience: int = Field(3, ge=1)
    """Training stops after this many measurements without a better one."""
    rows: int | None = Field(None, ge=10)
    """Measures on a seeded sample of the validation rows instead of on all."""


class Loop(Part):
    """What every method decides about its steps."""

    epochs: float = Field(1.0, gt=0)
    max_steps: int | None = Field(None, ge=1)
    """Stops earlier than `epochs` would."""
    batch_size: int = Field(16, ge=1)
    """Rows a step; when memory runs out the same batch is taken in smaller parts."""
    learning_rate: float = Field(3e-4, gt=0, lt=1)
    warmup: float = Field(0.1, ge=0, lt=1)
    """Share of the steps."""
    scheduler: Literal["linear", "cosine", "constant_with_warmup"] = "linear"
    weight_decay: float = Field(0.0, ge=0)
    label_smoothing: float = Field(0.0, ge=0, lt=1)
    max_tokens: int = Field(512, ge=8)
    checkpoint_steps: int = Field(20, ge=1)
    top_layers: int | None = Field(None, ge=1)
    """Trains only this many of the last layers; what the layers below make of each row is computed once."""
    stopping: Stopping | None = None


_OWN_KEYS = {
    "r": "rank",
    "lora_alpha": "alpha",
    "lora_dropout": "dropout",
    "target_modules": "targets",
    "use_dora": "dora",
    "use_rslora": "rslora",
    "init_lora_weights": "init",
    "layers_to_transform": "top_layers",
    "layers_pattern": "top_layers",
}
_NOT_OURS = {"task_type", "inference_mode", "base_model_name_or_path", "revision", "peft_type", "auto_mapping",
             "modules_to_save", "runtime_config", "peft_version"}  # fmt: skip


def _peft_options(value: dict[str, Any]) -> dict[str, Any]:
    """Checks names and values against peft's own class; it is imported only when something is passed."""
    if not value:
        return value
    from dataclasses import fields  # noqa: PLC0415

    from peft import LoraConfig  # noqa: PLC0415

    known = {field.name for field in fields(LoraConfig)} - _NOT_OURS - _OWN_KEYS.keys()
    faults = []
    for key in value:
        if key in _OWN_KEYS:
            faults.append(f"{key} is {_OWN_KEYS[key]} in a recipe")
        elif key not in known:
            near = difflib.get_close_matches(key, known, n=1, cutoff=0.5)
            faults.append(f"peft's LoraConfig has no {key} to set" + (f"; did you mean {near[0]}?" if near else ""))
    if faults:
        raise ValueError("; ".join(faults))
    try:
        LoraConfig(**value)
    except (TypeError, ValueError) as error:
        raise ValueError(f"peft refuses this: {error}") from None
    return value


class Lora(Part):
    """Low-rank adapters (Hu et al. 2021, arXiv:2106.09685), merged into the base afterwards."""

    rank: int = Field(16, ge=1, le=512)
    alpha: int = Field(32, ge=1)
    dropout: float = Field(0.0, ge=0, lt=1)
    targets: Literal["all-linear"] | list[str] = "all-linear"
    dora: bool = False
    """Learns each weight's length apart from its direction (Liu et al. 2024, arXiv:2402.09353)."""
    rslora: bool = False
    """Scales by alpha / sqrt(rank) (Kalajdzievski 2023, arXiv:2312.03732)."""
    init: Literal["zeros", "gaussian", "orthogonal"] = "zeros"
    """Ways that leave the base as it is; others of peft change it, so that merging would be wrong."""
    peft: Annotated[dict[str, Any], AfterValidator(_peft_options)] = {}
    """Any other field of peft's LoraConfig."""


class LoraTrain(Lora, Loop, Continued):
    """Adapters on the base in full or half precision."""

    method: Literal["lora"]


class QloraTrain(Lora, Loop, Continued):
    """Adapters on the base in NF4 (Dettmers et al. 2023, arXiv:2305.14314); needs less memory, not less time."""

    method: Literal["qlora"]


class FullTrain(Loop, Continued):
    """All weights of the trained layers."""

    method: Literal["full"]


class HeadTrain(Loop, Continued):
    """A linear layer over the text's state answers with a label: one forward pass a decision, however many
    labels. The trunk below it is tuned as `tune` says."""

    method: Literal["head"]
    pooling: Literal["last", "mean"] = "last"
    """The last token's state, as transformers' own classes take it, or the mean of all, which learns sooner."""
    tune: Literal["nothing", "lora", "full"] = "lora"
    lora: Lora = Lora()

    @model_validator(mode="after")
    def _fits(self) -> "HeadTrain":
        if self.tune != "lora" and self.lora != Lora():
            raise ValueError(f"tune is {self.tune}, which leaves lora without a meaning: leave lora out")
        if self.tune == "nothing" and self.top_layers:
            raise ValueError("tune is nothing, so no layer is trained: leave top_layers out")
        return self
