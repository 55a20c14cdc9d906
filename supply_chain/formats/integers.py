"""Weights as 4- or 8-bit integers in groups, packed as compressed-tensors' `pack-quantized`: transformers and vLLM
read it.

A weight is its code times its group's scale. Scales are chosen by search, codes by rounding or by GPTQ
(`compensate.py`); for AWQ, channels are weighed first (`activations.py`), for QuaRot turned (`rotation.py`).
"""

import json
import shutil
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import torch
from safetensors import safe_open
from safetensors.torch import save_file

from supply_chain.compensate import compensated, second_moments
from supply_chain.errors import InvalidInput
from supply_chain.formats.activations import weigh_channels
from supply_chain.formats.extras import needed
from supply_chain.formats.rotation import rotate
from supply_chain.inference import model_class
from supply_chain.recipe.quantize import Awq, Integers, Quarot

_GROUPS = (128, 64, 32)
_SHARES = {4: tuple(1 - step / 20 for step in range(11)), 8: (1.0,)}
"""Of a group's largest weight, what its scale may reach to: clipping a few weights makes the steps of all finer."""
_HEADS = ("lm_head", "score")


def write_integers(source: Path, folder: Path, scheme: Integers, prompts: Sequence[Sequence[int]] = ()) -> None:
    """Writes `source` (bf16 safetensors) to `folder`; its output layers and embeddings stay as they are.

    With `prompts` (token ids), codes are those that keep the layers' outputs on them. Raises InvalidInput for a
    model whose layers no group divides, or that AWQ does not know, Unavailable without the extra.
    """
    needed(scheme)
    device = {"": "cuda" if torch.cuda.is_available() else "cpu"}
    model = model_class(source).from_pretrained(
        source, dtype=torch.bfloat16, device_map=device, local_files_only=True, use_safetensors=True
    )
    if isinstance(scheme, Quarot):
        rotate(model, folder)
    layers = {name: m for name, m in model.named_modules() if isinstance(m, torch.nn.Linear) and name not in _HEADS}
    size = group_size(scheme, [layer.in_features for layer in layers.values()])
    found = second_moments(model.eval(), prompts) if prompts else {}
    prefix = next(name for name, module in model.named_modules() if module is model.get_decoder())
    moments = {f"{prefix}.{name}" if prefix else name: value for name, value in found.items()}
    if isinstance(scheme, Awq):
        weigh_channels(model, moments, lambda weight: nearest(weight, size, scheme.bits))
    state, tensors = model.state_dict(), dict[str, torch.Tensor]()
    stored = dict(_stored(source))
    if not model.config.tie_word_embeddings and "lm_head.weight" in state:
        stored.setdefault("lm_head.weight", state["lm_head.weight"])
    for name, tensor in stored.items():
        layer, kind = name.rpartition(".")[::2]
        if layer in layers and kind == "weight":
            parts = _packed(layers[layer].weight.data, moments.get(layer), scheme, size)
            tensors |= {f"{layer}.{part}": value.cpu() for part, value in parts.items()}
        else:
            tensors[name] = state.get(name, tensor).cpu().contiguous()
    save_file(tensors, folder / "model.safetensors", metadata={"format": "pt"})
    _configure(source, folder, model, scheme.bits, size)


def group_size(scheme: Integers, inputs: Sequence[int]) -> int:
    """How many weights share a scale, for layers with these numbers of inputs. Raises InvalidInput."""
    wanted = (scheme.group_size,) if scheme.group_size else _GROUPS
    fits = [size for size in wanted if all(n % size == 0 for n in inputs)]
    if not fits:
        raise InvalidInput(
            f"quantize: {scheme.name} needs layers whose inputs are a multiple of {_listed(wanted)}, found "
            f"{_listed(sorted(set(inputs)))}: set group_size to a divisor of all of them, or take bnb-nf4"
        )
    return fits[0]


def _listed(numbers: Sequence[int]) -> str:
    return ", ".join(map(str, numbers))


def nearest(weight: torch.Tensor, size: int, bits: int) -> torch.Tensor:
    """`weight` [outputs, inputs] rounded in groups whose scale reaches to the largest weight."""
    groups = weight.unflatten(1, (-1, size))
    low, high = _range(bits)
    scales = _largest(groups, high)[..., None]
    return ((groups / scales).round().clamp(low, high) * scales).flatten(1)


def _packed(weight: torch.Tensor, moments: torch.Tensor | None, scheme: Integers, size: int) -> dict[str, torch.Tensor]:
    """The tensors that stand for a weight [outputs, inputs]."""
    codes, scales = coded(weight, moments, scheme.bits, size, alone=isinstance(scheme, Awq))
    words = codes if scheme.bits == 8 else codes[:, ::2] | codes[:, 1::2] << 4
    return {
        "weight_packed": words.contiguous().cpu().view(torch.int32),
        "weight_scale": scales,
        "weight_shape": torch.tensor(weight.shape),
    }


def coded(
    weight: torch.Tensor, moments: torch.Tensor | None, bits: int, size: int, alone: bool = False
) -> tuple[torch.Tensor, torch.Tensor]:
    """Codes from 0 on, uint8 as `weight` [outputs, inputs], and their groups' scales, bfloat16 [outputs, groups].

    Without `moments`, or where each weight is taken `alone`, codes are the nearest.
    """
    low, high = _range(bits)
    scales: list[torch.Tensor] = []
    importance = torch.ones(weight.shape[1], device=weight.device) if moments is None else moments.diagonal()

    def scale_of(start: int, columns: torch.Tensor) -> torch.Tensor:
        scales.append(_searched(columns, importance[start : start + size], bits))
        return scales[-1]

    if moments is None or alone:
        codes = _rounded(weight.float(), size, scale_of, (low, high))
    else:
        book = torch.arange(low, high + 1, dtype=torch.float32, device=weight.device)
        codes = compensated(weight.float(), book, size, scale_of, moments)
    return codes.to(torch.uint8), torch.stack(scales, dim=1).bfloat16()


def _rounded(
    weight: torch.Tensor, size: int, scale_of: Callable[[int, torch.Tensor], torch.Tensor], bounds: tuple[int, int]
) -> torch.Tensor:
    """Codes from 0 on: [outputs, inputs]."""
    low, high = bounds
    codes = torch.empty_like(weight)
    for start in range(0, weight.shape[1], size):
        columns = weight[:, start : start + size]
        codes[:, start : start + size] = (columns / scale_of(start, columns)[:, None]).round().clamp(low, high) - low
    return codes


def _searched(columns: torch.Tensor, importance: torch.Tensor, bits: int) -> torch.Tensor:
    """The scale [outputs] of a group [outputs, inputs] that loses least, inputs weighed by their mean square."""
    low, high = _range(bits)
    whole = _largest(columns, high)
    scales = torch.stack([(whole * share).bfloat16().float() for share in _SHARES[bits]])
    losses = []
    for scale in scales:
        rounded = (columns / scale[:, None]).round().clamp(low, high) * scale[:, None]
        losses.append(((rounded - columns).square() * importance).sum(-1))
    return scales.gather(0, torch.stack(losses).argmin(0, keepdim=True))[0]


def _largest(groups: torch.Tensor, high: int) -> torch.Tensor:
    return (groups.abs().amax(-1) / (high + 0.5)).clamp_min(1e-12).bfloat16().float()


def _range(bits: int) -> tuple[int, int]:
    return -(1 << bits - 1), (1 << bits - 1) - 1


def _stored(source: Path) -> Iterator[tuple[str, torch.Tensor]]:
    for path in sorted(source.glob("*.safetensors")):
        with safe_open(path, "pt") as file:
            for name in file.keys():  # noqa: SIM118 (not a mapping)
                yield name, file.get_tensor(name)


def _configure(source: Path, folder: Path, model: Any, bits: int, size: int) -> None:
    weights = {
        "num_bits": bits,
        "type": "int",
        "symmetric": True,
        "strategy": "group",
        "group_size": size,
        "dynamic": False,
    }
    told = {
        "quant_method": "compressed-tensors",
        "format": "pack-quantized",
        "quantization_status": "compressed",
        "config_groups": {"group_0": {"targets": ["Linear"], "weights": weights}},
        "ignore": [name for name in _HEADS if hasattr(model, name)],
    }
    config = json.loads((source / "config.json").read_text(encoding="utf-8"))
    config |= {"quantization_config": told, "tie_word_embeddings": model.config.tie_word_embeddings}
    text = json.dumps(config, indent=2, sort_keys=True)
    (folder / "config.json").write_text(text, encoding="utf-8")
    if (source / "generation_config.json").exists():
        shutil.copyfile(source / "generation_config.json", folder / "generation_config.json")
