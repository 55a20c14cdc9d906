"""How much of what training changed is in weights that were made from it.

An artifact's weights are base + share · (merged - base) + rounding. Rounding errors of millions of weights hardly
point anywhere, so that the share is known to some hundredths even where each weight is off by more than training
moved it: 0 for a base that was quantized by mistake or an adapter that was not applied, 1 for the right one.
"""

import json
import math
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors import safe_open

from supply_chain.formats.rotation import Rotation, norm_of, rotation_of
from supply_chain.loaded import Loaded

_LAYERS = 12
_ROUNDING = 0.1
_PREFIX = "base_model.model."
_UNTOLD = ("up_proj.weight", "down_proj.weight")


@dataclass(frozen=True)
class Share:
    """The share of the fine-tune, and its standard deviation by rounding alone."""

    share: float
    deviation: float


class Weights:
    """The tensors of a folder's safetensors by name, read one at a time."""

    def __init__(self, folder: Path):
        self.places = {}
        for path in sorted(folder.glob("*.safetensors")):
            with safe_open(path, "pt") as file:
                self.places.update(dict.fromkeys(file.keys(), path))

    def __contains__(self, name: str) -> bool:
        return name in self.places

    def get(self, name: str) -> torch.Tensor:
        """One tensor in float32."""
        with safe_open(self.places[name], "pt") as file:
            tensor: torch.Tensor = file.get_tensor(name).float()
        return tensor


def merged_fault(base: Path, trained: Path, merged: Path) -> str:
    """Why `merged` is not `base` with the adapter in `trained` added; empty if it is, or if whole weights were trained.

    DoRA scales rows as well, and `alpha_pattern` names scales of layers: there only the adapter itself is asked.
    """
    if not (trained / "adapter_config.json").exists():
        return ""
    config = json.loads((trained / "adapter_config.json").read_text(encoding="utf-8"))
    whole, own, adapter = Weights(base), Weights(merged), Weights(trained)
    own_scales = config.get("use_dora") or config.get("alpha_pattern")
    wanted = missed = size = 0.0
    for name in (n for n in adapter.places if n.endswith(".lora_A.weight")):
        key = name.removeprefix(_PREFIX).replace(".lora_A.weight", ".weight")
        before = whole.get(key)
        down, up = adapter.get(name), adapter.get(name.replace("lora_A", "lora_B"))
        rank = len(down)
        delta = config["lora_alpha"] / (math.sqrt(rank) if config.get("use_rslora") else rank) * up @ down
        size += float(delta.square().sum())
        if own_scales:
            delta = own.get(key) - before
        after = (before + delta).bfloat16().float()
        wanted += float((after - before).square().sum())
        missed += float((own.get(key) - after).square().sum())
    if not size > 0:
        return "the adapter changes nothing: its weights are zero or no numbers"
    if missed > _ROUNDING**2 * wanted:
        off = math.sqrt(missed / wanted) if wanted else math.inf
        return f"merged weights are off by {off:.2f} of what the adapter adds (1: not merged at all)"
    return ""


def fine_tune_share(base: Path, merged: Path, folder: Path, loaded: Loaded, weighed: bool = False) -> Share | None:
    """The share of (merged - base) in an artifact, over the layers that training moved most; None without any.

    Where channels were `weighed` (AWQ), the norms tell by how much; layers whose factors they do not tell are left out.
    Turned weights (QuaRot) are turned back.
    """
    whole, full, norms = Weights(base), Weights(merged), Weights(folder) if weighed else None
    turn = rotation_of(folder)
    shared = [n for n in full.places if n in whole and n.endswith("_proj.weight")]
    shared = [n for n in shared if not (weighed and n.endswith(_UNTOLD))]
    moved = {n: _moved(whole, full, n) for n in shared}
    chosen = sorted((n for n in shared if moved[n] > 0), key=lambda n: -moved[n])[:_LAYERS]
    along = length = error = 0.0
    count = 0
    for name, own in _dequantized(folder, loaded, chosen):
        before, after = whole.get(name), full.get(name)
        change = after - before
        own = own * _factors(name, full, norms) if norms else own  # noqa: PLW2901
        own = _turned_back(name, own, turn, full) if turn else own  # noqa: PLW2901
        along += float(((own - before) * change).sum())
        length += float(change.square().sum())
        error += float((own - after).square().sum())
        count += own.numel()
    return Share(along / length, math.sqrt(error / count) / math.sqrt(length)) if length > 0 else None


def _moved(whole: Weights, full: Weights, name: str) -> float:
    before, after = whole.get(name), full.get(name)
    return float((after - before).square().sum()) if before.shape == after.shape else 0.0


def _factors(name: str, full: Weights, norms: Weights) -> torch.Tensor | float:
    """What the columns of a matrix are to be multiplied with, to stand behind the norm of `full`: [inputs]."""
    block, _, layer = name.removesuffix(".weight").rpartition(".")[0].rpartition(".")
    if name.endswith("o_proj.weight"):
        return 1.0
    norm = f"{block}.{'input_layernorm' if layer == 'self_attn' else 'post_attention_layernorm'}.weight"
    before = full.get(norm)
    return torch.where(before != 0, norms.get(norm) / before, 1.0)


def _turned_back(name: str, own: torch.Tensor, turn: Rotation, full: Weights) -> torch.Tensor:
    """A matrix of turned weights as it stands in `full`."""
    layer = name.removesuffix(".weight")
    found, norm = turn.back().turned(layer, own).float(), norm_of(layer)
    factors = full.get(f"{norm}.weight") if norm else torch.ones(1)
    return found / torch.where(factors != 0, factors, 1.0)


def _dequantized(folder: Path, loaded: Loaded, names: list[str]) -> Iterator[tuple[str, torch.Tensor]]:
    """Each named matrix as the artifact's runtime multiplies with it, in float32."""
    if loaded.native:
        from supply_chain.formats import executorch, gguf, mlx, onnx  # noqa: PLC0415

        read = next((m for m in (onnx, gguf, executorch) if (folder / m.FILE).exists()), mlx)
        yield from read.read_matrices(folder, names)
        return
    from bitsandbytes.functional import dequantize_4bit  # noqa: PLC0415

    modules: dict[str, Any] = dict(loaded.model.named_modules())
    for name in names:
        module = modules[name.removesuffix(".weight")]
        weight = module.weight
        state = getattr(weight, "quant_state", None)
        full = (dequantize_4bit(weight.data, state) if state is not None else weight.data).float()
        for adapter in getattr(module, "active_adapters", ()):  # not merged
            full = full + module.get_delta_weight(adapter).float()
        yield name, full.cpu()
