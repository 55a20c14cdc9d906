"""The `quantize` block: in which formats the weights are shipped."""

from typing import Annotated, Literal

from pydantic import Field

from supply_chain.recipe.part import Part


class BnbNf4(Part):
    """bitsandbytes NormalFloat4 (Dettmers et al. 2023, arXiv:2305.14314)."""

    scheme: Literal["bnb-nf4"]
    double_quantization: bool = True
    calibration_rows: int = Field(256, ge=0, le=10_000)
    """Train rows whose activations choose the codes (GPTQ); 0 rounds each weight to its nearest code."""


Quantize = Annotated[BnbNf4, Field(discriminator="scheme")]
