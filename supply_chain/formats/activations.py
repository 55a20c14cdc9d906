"""Weighs input channels so that those with large activations lose less to rounding.

AWQ (Lin et al. 2023, arXiv:2306.00978), section 3.2: columns of a weight are multiplied by s = a^share and what feeds
them is divided by it, a being the channels' typical activation; the share is searched for each group of layers. Here
a is the root mean square, and the loss of the layers' outputs is exact on the calibration prompts, computed from
their second moments.
"""

from collections.abc import Callable
from typing import Any

import torch

from supply_chain.errors import InvalidInput

FAMILIES = ("llama", "mistral", "qwen2", "qwen3")
"""Models whose norms, projections and residual stream stand where they are expected."""
_SHARES = tuple(step / 10 for step in range(11))

Rounding = Callable[[torch.Tensor], torch.Tensor]


def weigh_channels(model: Any, moments: dict[str, torch.Tensor], rounded: Rounding) -> None:
    """Changes norms, weights and `moments` (by a layer's name) in place; what the model computes stays as it was.

    Queries, keys and values are weighed in the norm before them, gate and up-projection in theirs, the
    down-projection in the rows of the up-projection. Raises InvalidInput for a model of another build.
    """
    family = model.config.model_type
    if family not in FAMILIES:
        raise InvalidInput(f"quantize: awq knows {', '.join(FAMILIES)}, found {family}: take gptq or another scheme")
    names = {id(module): name for name, module in model.named_modules()}
    for block in model.get_decoder().layers:
        attention, words = block.self_attn, block.mlp
        _weigh([words.down_proj], words.up_proj, names, moments, rounded)
        _weigh([words.gate_proj, words.up_proj], block.post_attention_layernorm, names, moments, rounded)
        inputs = [attention.q_proj, attention.k_proj, attention.v_proj]
        _weigh(inputs, block.input_layernorm, names, moments, rounded)


def _weigh(
    layers: list[Any], feeder: Any, names: dict[int, str], moments: dict[str, torch.Tensor], rounded: Rounding
) -> None:
    """Multiplies columns of `layers`, which all read `feeder`'s output, and divides that output."""
    squares = moments[names[id(layers[0])]]
    weight = torch.cat([layer.weight.data.float() for layer in layers])
    typical = squares.diagonal().sqrt()
    typical = typical.clamp_min(float(typical.max()) * 1e-4 + 1e-12)
    found = [_factors(typical, share) for share in _SHARES]
    losses = [_loss(weight, factors, squares, rounded) for factors in found]
    before = feeder.weight.data.float()
    rows = found[losses.index(min(losses))].reshape(-1, *[1] * (before.dim() - 1))
    feeder.weight.data = (before / rows).to(feeder.weight.dtype)
    if before.dim() == 1:  # a norm is stored in half precision: what its rounding does is made up for in the layers
        after = feeder.weight.data.float()
        rows = torch.where(after != 0, before / after, 1.0)
    factors = rows.flatten()
    if getattr(feeder, "bias", None) is not None:
        feeder.bias.data = (feeder.bias.data.float() / factors).to(feeder.bias.dtype)
    for layer in layers:
        layer.weight.data = (layer.weight.data.float() * factors).to(layer.weight.dtype)
        moments[names[id(layer)]] = squares / factors / factors[:, None]


def _factors(typical: torch.Tensor, share: float) -> torch.Tensor:
    factors = typical**share
    return factors / (factors.max() * factors.min()).sqrt()


def _loss(weight: torch.Tensor, factors: torch.Tensor, squares: torch.Tensor, rounded: Rounding) -> float:
    """Squared error of the outputs that rounding `weight` times `factors` costs, over the calibration tokens."""
    error = rounded(weight * factors) / factors - weight
    return float(((error @ squares) * error).sum())
