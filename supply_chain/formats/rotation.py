"""Turns weights so that no channel stands out before they are rounded; what the model computes stays as it was.

QuaRot (Ashkboos et al. 2024, arXiv:2404.00456): norms are absorbed by the layers that read them, then the residual
stream is turned by a randomized Hadamard matrix (R1 of SpinQuant, Liu et al. 2024, arXiv:2405.16406) and each head's
values by a Hadamard matrix (R2). Both become part of the weights: nothing more is computed when the model answers.
They are not learned, and nothing is turned on the way (R3, R4), which serves the rounding of activations.
"""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from supply_chain.errors import InvalidInput
from supply_chain.formats.activations import FAMILIES

FILE = "rotation.json"
_SEED = 17
_WRITERS = ("o_proj", "down_proj")
_NORMS = {
    "input_layernorm": ("self_attn.q_proj", "self_attn.k_proj", "self_attn.v_proj"),
    "post_attention_layernorm": ("mlp.gate_proj", "mlp.up_proj"),
}


@dataclass(frozen=True)
class Rotation:
    """Orthogonal matrices of the residual stream [hidden, hidden] and of a head's values [size, size], in float64."""

    stream: torch.Tensor
    values: torch.Tensor

    def turned(self, layer: str, weight: torch.Tensor) -> torch.Tensor:
        """A layer's weight [outputs, inputs], or bias [outputs], between turned inputs and outputs: float64."""
        leaf, found = layer.rpartition(".")[2], weight.double()
        found = found if weight.dim() == 1 or leaf in _WRITERS else found @ self.stream
        if leaf == "v_proj":
            found = self._blocks(found.T).T if weight.dim() == 2 else self._blocks(found)
        if leaf == "o_proj" and weight.dim() == 2:
            found = self._blocks(found)
        return self.stream.T @ found if leaf in _WRITERS else found

    def back(self) -> "Rotation":
        """The one that undoes this one."""
        return Rotation(self.stream.T, self.values.T)

    def _blocks(self, rows: torch.Tensor) -> torch.Tensor:
        """The last dimension, head by head."""
        return (rows.unflatten(-1, (-1, len(self.values))) @ self.values).flatten(-2)


def rotation_of(folder: Path) -> Rotation | None:
    """The rotation of an artifact's weights, if there is one."""
    if not (folder / FILE).exists():
        return None
    told = json.loads((folder / FILE).read_text(encoding="utf-8"))
    return Rotation(orthogonal(told["hidden_size"], told["seed"]), orthogonal(told["head_size"]))


def orthogonal(size: int, seed: int | None = None) -> torch.Tensor:
    """A matrix [size, size] in float64 that spreads each channel over all: Hadamard's for the power of two in `size`
    times a cosine transform for the rest, its rows' signs drawn by `seed`."""
    found, odd = torch.ones(1, 1, dtype=torch.float64), size
    while odd % 2 == 0:
        found, odd = torch.kron(found, torch.tensor([[1.0, 1.0], [1.0, -1.0]]).double() / 2**0.5), odd // 2
    places = torch.arange(odd).double()
    cosines = torch.cos(torch.pi / odd * (places + 0.5) * places[:, None]) * (2 / odd) ** 0.5
    cosines[0] /= 2**0.5
    found = torch.kron(found, cosines)
    signs = torch.ones(size) if seed is None else _signs(size, seed)
    return signs[:, None] * found


def _signs(size: int, seed: int) -> torch.Tensor:
    return torch.randint(0, 2, (size,), generator=torch.Generator().manual_seed(seed)) * 2.0 - 1


def rotate(model: Any, folder: Path) -> None:
    """Turns a model that writes words or labels, in place, and tells `folder` how.

    Its output layer is apart from its embeddings from then on. Raises InvalidInput for a model of another build.
    """
    config, decoder = model.config, model.get_decoder()
    if config.model_type not in FAMILIES:
        known = ", ".join(FAMILIES)
        raise InvalidInput(f"quantize: quarot knows {known}, found {config.model_type}: take gptq or another scheme")
    size = getattr(config, "head_dim", None) or config.hidden_size // config.num_attention_heads
    told = {"seed": _SEED, "hidden_size": config.hidden_size, "head_size": size}
    (folder / FILE).write_text(json.dumps(told), encoding="utf-8")
    turn = rotation_of(folder)
    assert turn is not None
    head = model.score if hasattr(model, "score") else model.lm_head
    head.weight = torch.nn.Parameter(head.weight.data.clone(), requires_grad=False)
    config.tie_word_embeddings = False
    for block in decoder.layers:
        norms = {layer: block.get_submodule(norm) for norm, layers in _NORMS.items() for layer in layers}
        for name in (*norms, "self_attn.o_proj", "mlp.down_proj"):
            _turn(block.get_submodule(name), name, turn, norms.get(name))
        for norm in _NORMS:
            block.get_submodule(norm).weight.data.fill_(1)
    _turn(head, "head", turn, decoder.norm)
    decoder.norm.weight.data.fill_(1)
    _turn(decoder.embed_tokens, "embed_tokens", turn, None)


def _turn(layer: Any, name: str, turn: Rotation, norm: Any) -> None:
    """Turns a layer, which takes over what `norm` before it multiplies with."""
    weight = layer.weight.data.double() * (1 if norm is None else norm.weight.data.double())
    layer.weight.data = turn.turned(name, weight).to(layer.weight.dtype)
    if getattr(layer, "bias", None) is not None:
        layer.bias.data = turn.turned(name, layer.bias.data).to(layer.bias.dtype)


def norm_of(layer: str) -> str | None:
    """The norm that a layer (`model.layers.0.mlp.up_proj`) took over, by name."""
    block, part, leaf = layer.rsplit(".", 2)
    return next((f"{block}.{norm}" for norm, layers in _NORMS.items() if f"{part}.{leaf}" in layers), None)
