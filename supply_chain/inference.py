"""Loads stored weights for scoring, with bitsandbytes' CPU traps closed."""

import time
from pathlib import Path
from typing import Any

import torch
from transformers import AutoConfig, AutoModelForCausalLM, AutoModelForSequenceClassification, AutoTokenizer

from supply_chain.errors import CorruptData
from supply_chain.formats.extras import library
from supply_chain.loaded import Loaded, has_head
from supply_chain.records import Compute

_PACKED = "compressed-tensors"

__all__ = ["Loaded", "has_head", "load", "open_weights"]


def load(path: Path, compute: Compute, base: Path | None = None) -> Loaded:
    """Loads a folder of safetensors (plain or 4-bit), or the adapter in it over `base`, unmerged; nothing is fetched
    and no code of it is run.

    Raises CorruptData when the folder holds no whole model.
    """
    torch.set_num_threads(compute.threads)
    start = time.perf_counter()
    try:
        tokenizer = AutoTokenizer.from_pretrained(path, local_files_only=True, trust_remote_code=False)
        model = open_weights(base or path, compute)
        if base is not None:
            model = _with_adapter(model, path)
    except (OSError, ValueError, RuntimeError, KeyError) as error:
        raise CorruptData(f"{path} holds no model that can be loaded: {error}") from error
    keep_packed_weights_apart(model)
    if has_head(model):
        model.score = Float32Head(model.score)
    else:
        model.set_output_embeddings(Float32Head(model.get_output_embeddings()))
    return Loaded(model.eval(), tokenizer, time.perf_counter() - start)


def _with_adapter(model: Any, path: Path) -> Any:
    from peft import PeftModel  # noqa: PLC0415 (a second, for adapters alone)

    return PeftModel.from_pretrained(model, str(path), local_files_only=True).get_base_model()


def open_weights(path: Path, compute: Compute, quantization: Any = None) -> Any:
    """The model in a folder of safetensors, with `compute`'s dtype, attention and device."""
    return model_class(path).from_pretrained(
        path,
        config=_config(path),
        dtype=getattr(torch, compute.dtype),
        attn_implementation=compute.attention,
        device_map={"": compute.device},
        local_files_only=True,
        trust_remote_code=False,
        use_safetensors=True,
        **({"quantization_config": quantization} if quantization else {}),
    )


def _config(path: Path) -> Any:
    """A folder's configuration; packed integers are to be unpacked while they are read, not at the first request."""
    config = AutoConfig.from_pretrained(path, local_files_only=True, trust_remote_code=False)
    told = getattr(config, "quantization_config", None)
    if isinstance(told, dict) and told.get("quant_method") == _PACKED:
        library(_PACKED, f"{path} holds packed integers: it")
        told["dequantize"] = True
    return config


def device_bytes(compute: Compute) -> int:
    """The most memory that torch has held on an accelerator; 0 on a CPU."""
    return int(torch.cuda.max_memory_allocated()) if compute.device.startswith("cuda") else 0


def model_class(path: Path) -> Any:
    """The class to load a folder with: one with a head of labels if its configuration names one."""
    config = AutoConfig.from_pretrained(path, local_files_only=True, trust_remote_code=False)
    headed = any(name.endswith("ForSequenceClassification") for name in config.architectures or [])
    return AutoModelForSequenceClassification if headed else AutoModelForCausalLM


def pooled(model: Any, states: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
    """What a head reads of states [rows, tokens, hidden], padded on the right: [rows, hidden].

    `pooling` in the model's configuration says which: `last` (transformers' own way, also if it says
    nothing) or `mean`.
    """
    if getattr(model.config, "pooling", "last") == "mean":
        weights = mask.to(states.dtype)[..., None]
        return (states * weights).sum(dim=1) / weights.sum(dim=1)
    last = mask.sum(dim=1) - 1
    return states[torch.arange(len(last), device=last.device), last]


class Float32Head(torch.nn.Module):
    """The output layer in float32: bfloat16 logits tie the best labels of 2 to 4 rows in 100."""

    def __init__(self, head: torch.nn.Linear):
        super().__init__()
        # Not called `weight`: tying weights again must not put the half-precision ones back.
        self.register_buffer("matrix", head.weight.detach().float(), persistent=False)
        self.register_buffer("offset", None if head.bias is None else head.bias.detach().float(), persistent=False)

    def forward(self, states: torch.Tensor) -> torch.Tensor:
        """Hidden states [..., hidden] to float32 logits [..., vocabulary]."""
        return torch.nn.functional.linear(states.float(), self.matrix, self.offset)  # type: ignore[arg-type]


def keep_packed_weights_apart(model: Any) -> None:
    """Stops bitsandbytes from repacking 4-bit weights in place at the first forward pass.

    On CPUs with AVX512-bf16 the repacked weights make saving lossy, training silent and prefill
    about four times slower (seen with bitsandbytes 0.50.2).
    """
    for module in model.modules():
        if hasattr(module, "support_avx512bf16_for_cpu"):
            module.support_avx512bf16_for_cpu = False
