"""GGUF: weights, tokenizer and chat template in one file, as llama.cpp runs it.

Llama's and Qwen2's architectures with byte-level BPE. Tensor names come from the `gguf` package, which
llama.cpp's authors publish; whether tokens and probabilities are those of training is measured (`parity.py`).
"""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import gguf
import numpy as np
import torch
from safetensors import safe_open

from supply_chain.errors import InvalidInput
from supply_chain.formats.extras import needed
from supply_chain.recipe.quantize import Gguf

FILE = "model.gguf"
_TYPES = {"q8_0": 7, "q4_0": 2, "q4_k_m": 15}  # llama.cpp's `llama_ftype`
_ARCHITECTURES = {"LlamaForCausalLM": gguf.MODEL_ARCH.LLAMA, "Qwen2ForCausalLM": gguf.MODEL_ARCH.QWEN2}
_BY_NAME = {gguf.MODEL_ARCH_NAMES[arch]: arch for arch in _ARCHITECTURES.values()}
_COUNTS = ("block_count", "attention.head_count", "attention.head_count_kv")
_TURNED = ("q_proj", "k_proj")
_CONTRACTIONS = r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|"
_REST = r"| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
_SPLITS = {
    _CONTRACTIONS + r"\p{N}{1,3}" + _REST: "llama-bpe",
    _CONTRACTIONS + r"\p{N}" + _REST: "qwen2",
}


def write_gguf(source: Path, folder: Path, scheme: Gguf) -> None:
    """Writes `source` (bf16 safetensors with its tokenizer) as `folder / "model.gguf"`.

    Raises InvalidInput for an architecture or tokenizer that llama.cpp reads otherwise, Unavailable
    without the extra.
    """
    if scheme.type == "f16":
        convert(source, folder / FILE)
        return
    llama = needed(scheme)
    llama.disable_logging()
    whole = folder / "f16.gguf"
    convert(source, whole)
    wanted = llama.LlamaModelQuantizeParams()
    wanted.ftype, wanted.nthread = _TYPES[scheme.type], 1
    llama.model_quantize(str(whole), str(folder / FILE), wanted)
    whole.unlink()


def convert(source: Path, target: Path) -> None:
    """Writes `source` as a GGUF file with matrices in float16. Raises InvalidInput."""
    config = json.loads((source / "config.json").read_text(encoding="utf-8"))
    name = (config.get("architectures") or ["none"])[0]
    rope = config.get("rope_parameters") or config.get("rope_scaling") or {}
    if name not in _ARCHITECTURES or rope.get("rope_type", "default") != "default":
        raise InvalidInput(
            f"quantize: gguf needs one of {', '.join(_ARCHITECTURES)} with plain rotary positions, found {name} with "
            f"{rope.get('rope_type', 'default')!r}: take another scheme"
        )
    arch = _ARCHITECTURES[name]
    writer = gguf.GGUFWriter(target, gguf.MODEL_ARCH_NAMES[arch])
    _describe(writer, config, rope)
    _tokenizer(writer, source, config["vocab_size"])
    for key, tensor in _tensors(source, arch, config):
        writer.add_tensor(key, tensor)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


def read_matrices(folder: Path, names: list[str]) -> Iterator[tuple[str, torch.Tensor]]:
    """Matrices of `folder / "model.gguf"` by their names in safetensors, dequantized, in the order of training."""
    reader = gguf.GGUFReader(folder / FILE)
    arch = str(reader.fields["general.architecture"].contents())
    sizes = {name: int(reader.fields[f"{arch}.{name}"].contents()) for name in _COUNTS}
    places = gguf.get_tensor_name_map(_BY_NAME[arch], sizes["block_count"])
    stored = {tensor.name: tensor for tensor in reader.tensors}
    for name in names:
        found = stored[places.get_name(name, try_suffixes=(".weight",))]
        values = gguf.dequantize(found.data, found.tensor_type).astype(np.float32)
        tensor = torch.from_numpy(values.copy()).reshape(*map(int, found.shape[::-1]))
        layer = name.split(".")[-2]
        if arch == "llama" and layer in _TURNED:
            heads = sizes["attention.head_count" if layer == "q_proj" else "attention.head_count_kv"]
            tensor = tensor.reshape(heads, -1, 2, tensor.shape[1]).swapaxes(1, 2).reshape(tensor.shape)
        yield name, tensor


def _describe(writer: Any, config: dict[str, Any], rope: dict[str, Any]) -> None:
    heads = config["num_attention_heads"]
    width = config.get("head_dim") or config["hidden_size"] // heads
    writer.add_file_type(gguf.LlamaFileType.MOSTLY_F16)
    writer.add_vocab_size(config["vocab_size"])
    writer.add_context_length(config["max_position_embeddings"])
    writer.add_embedding_length(config["hidden_size"])
    writer.add_block_count(config["num_hidden_layers"])
    writer.add_feed_forward_length(config["intermediate_size"])
    writer.add_head_count(heads)
    writer.add_head_count_kv(config.get("num_key_value_heads") or heads)
    writer.add_key_length(width)
    writer.add_value_length(width)
    writer.add_rope_dimension_count(width)
    writer.add_rope_freq_base(float(rope.get("rope_theta") or config.get("rope_theta") or 10000.0))
    writer.add_layer_norm_rms_eps(config["rms_norm_eps"])


def _tensors(source: Path, arch: Any, config: dict[str, Any]) -> Iterator[tuple[str, np.ndarray]]:
    names = gguf.get_tensor_name_map(arch, config["num_hidden_layers"])
    heads = config["num_attention_heads"]
    groups = config.get("num_key_value_heads") or heads
    for path in sorted(source.glob("*.safetensors")):
        with safe_open(path, "pt") as weights:
            for name in weights.keys():  # noqa: SIM118 (not a mapping)
                found = names.get_name(name, try_suffixes=(".weight", ".bias"))
                if found is None:
                    raise InvalidInput(f"quantize: gguf has no place for the weights {name}: take another scheme")
                tensor = weights.get_tensor(name)
                if arch == gguf.MODEL_ARCH.LLAMA and ".self_attn." in name and name.split(".")[-2] in _TURNED:
                    tensor = _turned(tensor, heads if name.split(".")[-2] == "q_proj" else groups)
                yield found, tensor.to(torch.float16 if tensor.dim() > 1 else torch.float32).numpy()


def _turned(tensor: torch.Tensor, heads: int) -> torch.Tensor:
    """Rows in the order in which llama.cpp rotates pairs: neighbours instead of halves."""
    rows = tensor.shape[0] // heads // 2
    return tensor.reshape(heads, 2, rows, *tensor.shape[1:]).swapaxes(1, 2).reshape(tensor.shape).contiguous()


def _tokenizer(writer: Any, source: Path, size: int) -> None:
    from transformers import AutoTokenizer  # noqa: PLC0415 (seconds)

    told = json.loads((source / "tokenizer.json").read_text(encoding="utf-8"))
    if told["model"]["type"] != "BPE" or told["model"].get("byte_fallback"):
        raise InvalidInput(f"quantize: gguf needs a byte-level BPE tokenizer, found {told['model']['type']}")
    tokens = [f"[PAD{i}]" for i in range(size)]
    types = [int(gguf.TokenType.UNUSED)] * size
    for token, i in told["model"]["vocab"].items():
        tokens[i], types[i] = token, int(gguf.TokenType.NORMAL)
    for added in told["added_tokens"]:
        kind = gguf.TokenType.CONTROL if added["special"] else gguf.TokenType.USER_DEFINED
        tokens[added["id"]], types[added["id"]] = added["content"], int(kind)
    merges = [m if isinstance(m, str) else " ".join(m) for m in told["model"]["merges"]]
    tokenizer = AutoTokenizer.from_pretrained(source, local_files_only=True, trust_remote_code=False)
    writer.add_tokenizer_model("gpt2")
    writer.add_tokenizer_pre(_splitting(told.get("pre_tokenizer") or {}))
    writer.add_token_list(tokens)
    writer.add_token_types(types)
    writer.add_token_merges(merges)
    writer.add_add_bos_token(False)
    ends = {"bos": tokenizer.bos_token_id, "eos": tokenizer.eos_token_id, "pad": tokenizer.pad_token_id}
    for name, number in ends.items():
        if number is not None:
            getattr(writer, f"add_{name}_token_id")(number)
    if tokenizer.chat_template:
        writer.add_chat_template(tokenizer.chat_template)


def _splitting(told: dict[str, Any]) -> str:
    """llama.cpp's name for how a text is split before merging. Raises InvalidInput for one that it does not know."""
    steps = told.get("pretokenizers", [told])
    kinds = [step.get("type") for step in steps]
    if kinds == ["ByteLevel"] and steps[0].get("use_regex", True):
        return "gpt-2"
    if kinds == ["Digits", "ByteLevel"] and steps[0]["individual_digits"]:
        return "smollm"
    found = steps[0].get("pattern", {}).get("Regex") if kinds == ["Split", "ByteLevel"] else None
    if found in _SPLITS:
        return _SPLITS[found]
    raise InvalidInput(f"quantize: gguf does not know how this tokenizer splits texts ({json.dumps(told)[:200]})")
