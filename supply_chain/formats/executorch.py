"""ExecuTorch's `.pte` with 4-bit weights, run by XNNPACK, which rounds activations to 8 bits as it runs.

Codes are chosen as for GPTQ (`integers.py`), torchao says them in the graph and ExecuTorch lowers it. Embeddings and
output layer take 8 bits. transformers' own exportable modules count the tokens that they read and cannot go back, which
many answers after one context need; here each token's place is an input.
"""

import hashlib
import json
import shutil
import warnings
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import nn
from transformers import AutoModelForCausalLM, Cache

from supply_chain.compensate import second_moments
from supply_chain.errors import CorruptData, InvalidInput
from supply_chain.executorch_model import CONTEXT, FILE, METHOD
from supply_chain.formats.extras import library, needed
from supply_chain.formats.integers import coded
from supply_chain.recipe.quantize import Executorch

MATRICES = "matrices.json"
"""For each matrix its columns, and the names under which the `.pte` holds its codes and its scales."""
_ARCHITECTURES = ("LlamaForCausalLM", "MistralForCausalLM", "Qwen2ForCausalLM", "Qwen3ForCausalLM")


def write_executorch(source: Path, folder: Path, scheme: Executorch, prompts: Sequence[Sequence[int]] = ()) -> None:
    """Writes `source` (bf16 safetensors) as `folder / "model.pte"`.

    With `prompts` (token ids), codes are those that keep the layers' outputs on them. Raises InvalidInput for a model
    that does not fit, Unavailable without the extra.
    """
    _check(json.loads((source / "config.json").read_text(encoding="utf-8")), scheme)
    needed(scheme)
    model = AutoModelForCausalLM.from_pretrained(
        source, dtype=torch.float32, attn_implementation="eager", local_files_only=True, use_safetensors=True
    ).eval()
    with torch.no_grad(), warnings.catch_warnings():
        warnings.simplefilter("ignore")  # its libraries warn of their own code
        _round(model, scheme.group_size, prompts)
        with (folder / FILE).open("wb") as file:
            _lowered(_Decoder(model, scheme.context_tokens)).write_to_file(file)
    (folder / MATRICES).write_text(json.dumps(_names(model.get_decoder())), encoding="utf-8")
    for name in ("config.json", "generation_config.json"):
        if (source / name).exists():
            shutil.copyfile(source / name, folder / name)


def read_matrices(folder: Path, names: list[str]) -> Iterator[tuple[str, torch.Tensor]]:
    """Matrices of `folder / "model.pte"` by their names in safetensors, dequantized. Raises CorruptData."""
    library("executorch", str(folder / FILE))
    from executorch.exir._serialize._program import deserialize_pte_binary  # noqa: PLC0415 (from the extra)

    data = deserialize_pte_binary((folder / FILE).read_bytes()).named_data
    places = json.loads((folder / MATRICES).read_text(encoding="utf-8"))
    for name in names:
        try:
            columns, *keys = places[name]
            codes, scales = (bytearray(data.buffers[data.pte_data[key].buffer_index]) for key in keys)
        except KeyError:
            raise CorruptData(f"{folder / FILE} does not hold {name} as {MATRICES} says") from None
        yield name, _dequantized(codes, scales).reshape(-1, columns)


def _check(config: dict[str, Any], scheme: Executorch) -> None:
    name = (config.get("architectures") or ["none"])[0]
    kinds = config.get("layer_types") or ["sliding_attention" if config.get("sliding_window") else "full_attention"]
    if name not in _ARCHITECTURES or {*kinds} != {"full_attention"}:
        told = f"one of {', '.join(_ARCHITECTURES)} without a sliding window, found {name}"
        raise InvalidInput(f"quantize: executorch needs {told}: take another scheme")
    if scheme.context_tokens > config["max_position_embeddings"]:
        told = f"{scheme.context_tokens} is more than the model's {config['max_position_embeddings']} tokens"
        raise InvalidInput(f"quantize: executorch: context_tokens: {told}")


class _Rows(nn.Module):
    """Embeddings in 8 bits, a scale a row."""

    codes: torch.Tensor
    scales: torch.Tensor

    def __init__(self, matrix: torch.Tensor):
        super().__init__()
        scales = matrix.abs().amax(1, keepdim=True).clamp(min=1e-12) / 127
        self.register_buffer("codes", (matrix / scales).round().to(torch.int8))
        self.register_buffer("scales", scales)

    def forward(self, ids: torch.Tensor) -> torch.Tensor:
        """Rows [1, tokens, width] of ids [1, tokens]."""
        rows = nn.functional.embedding(ids, self.codes).to(torch.float32)
        return rows * nn.functional.embedding(ids, self.scales)


class _Places(Cache):
    """Keys and values [1, heads, context, size] of every layer; what is read is written at its places."""

    def __init__(self, stored: list[tuple[torch.Tensor, torch.Tensor]], places: torch.Tensor):
        super().__init__(layers=[])
        self.stored, self.places = stored, places

    def update(self, key: torch.Tensor, value: torch.Tensor, layer: int, *_: Any, **__: Any) -> Any:
        """All keys and values of a layer."""
        for kept, new in zip(self.stored[layer], (key, value), strict=True):
            kept.index_copy_(2, self.places, new)
        return self.stored[layer]

    def get_seq_length(self, *_: Any, **__: Any) -> int:
        """Not asked for anything: places are given."""
        return 0


class _Decoder(nn.Module):
    """Logits [1, tokens, vocabulary] of tokens [1, tokens] at their places [tokens] in the context."""

    def __init__(self, model: Any, context: int):
        super().__init__()
        self.model, self.context, config = model, context, model.config
        size = getattr(config, "head_dim", None) or config.hidden_size // config.num_attention_heads
        self.layers = range(config.num_hidden_layers)
        for name in (f"{kind}{layer}" for layer in self.layers for kind in ("keys", "values")):
            self.register_buffer(name, torch.zeros(1, config.num_key_value_heads, context, size), persistent=False)

    def forward(self, input_ids: torch.Tensor, cache_position: torch.Tensor) -> torch.Tensor:
        """As ExecuTorch's runners call it."""
        stored = [(getattr(self, f"keys{layer}"), getattr(self, f"values{layer}")) for layer in self.layers]
        seen = torch.arange(self.context)[None] <= cache_position[:, None]
        logits: torch.Tensor = self.model(
            input_ids=input_ids,
            attention_mask=torch.where(seen, 0.0, -1e9)[None, None],
            position_ids=cache_position[None],
            past_key_values=_Places(stored, cache_position),
        ).logits
        return logits


def _round(model: Any, size: int, prompts: Sequence[Sequence[int]]) -> None:
    from torchao.quantization import Int8DynamicActivationIntxWeightConfig, quantize_  # noqa: PLC0415 (see extras.py)
    from torchao.quantization.granularity import PerAxis, PerGroup  # noqa: PLC0415

    layers = {name: m for name, m in model.get_decoder().named_modules() if isinstance(m, nn.Linear)}
    odd = next((name for name, layer in layers.items() if layer.in_features % size), None)
    if odd:
        told = f"{size} does not divide the inputs of {odd}: set group_size to a divisor of all"
        raise InvalidInput(f"quantize: executorch: {told}")
    moments = second_moments(model, prompts) if prompts else {}
    chosen = {name: coded(layer.weight, moments.get(name), 4, size) for name, layer in layers.items()}
    groups = {"weight_granularity": PerGroup(size), "weight_scale_dtype": torch.bfloat16}  # as XNNPACK keeps scales
    kind: Any = Int8DynamicActivationIntxWeightConfig
    quantize_(model.get_decoder(), kind(weight_dtype=torch.int4, **groups))  # type: ignore[attr-defined]
    quantize_(model, kind(weight_granularity=PerAxis(0)), lambda module, name: module is model.get_output_embeddings())
    for name, (codes, scales) in chosen.items():
        weight: Any = layers[name].weight
        weight.qdata.copy_(codes.to(torch.int8) - 8)
        weight.scale.copy_(scales)
    model.set_input_embeddings(_Rows(model.get_input_embeddings().weight))


def _lowered(decoder: _Decoder) -> Any:
    from executorch.backends.xnnpack.partition.xnnpack_partitioner import (  # noqa: PLC0415 (from the extra)
        XnnpackDynamicallyQuantizedPartitioner,
        XnnpackPartitioner,
    )
    from executorch.exir import EdgeCompileConfig, to_edge_transform_and_lower  # noqa: PLC0415

    tokens = torch.export.Dim("tokens", min=1, max=decoder.context)
    example = (torch.zeros(1, 6, dtype=torch.int64), torch.arange(6))
    program = torch.export.export(decoder, example, dynamic_shapes=({1: tokens}, {0: tokens}), strict=False)
    return to_edge_transform_and_lower(
        {METHOD: program},
        partitioner=[XnnpackDynamicallyQuantizedPartitioner(), XnnpackPartitioner()],
        compile_config=EdgeCompileConfig(_check_ir_validity=False, _skip_dim_order=True),
        constant_methods={CONTEXT: decoder.context, "use_kv_cache": True, "enable_dynamic_shape": True},
    ).to_executorch()


def _names(decoder: Any) -> dict[str, tuple[int, str, str]]:
    """XNNPACK calls constants by the SHA-256 of their bytes: two codes a byte, from 0 to 15, the first one below."""
    found = {}
    for name, module in decoder.named_modules():
        if isinstance(module, nn.Linear):
            weight: Any = module.weight
            codes = weight.qdata.to(torch.uint8) + 8
            packed = codes[:, 1::2] << 4 | codes[:, ::2]
            scales = weight.scale.contiguous().view(torch.uint8)
            one, other = (hashlib.sha256(part.numpy().tobytes()).hexdigest() for part in (packed, scales))
            found[f"model.{name}.weight"] = (module.in_features, one, f"scale_{other}")
    return found


def _dequantized(codes: bytearray, scales: bytearray) -> torch.Tensor:
    """Groups of weights [groups, size]; see `_names`."""
    packed, each = torch.frombuffer(codes, dtype=torch.uint8), torch.frombuffer(scales, dtype=torch.bfloat16)
    values = torch.stack([packed & 15, packed >> 4], -1).reshape(len(each), -1).float() - 8
    return values * each.float()[:, None]
