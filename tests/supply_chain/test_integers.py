"""Packed integers are what the format says, lose as little as they can, and pass for the trained model alone."""

import json
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file

from supply_chain.answer import Answerer
from supply_chain.compensate import second_moments
from supply_chain.errors import InvalidInput, SupplyChainError, Unavailable
from supply_chain.formats.activations import weigh_channels
from supply_chain.formats.integers import group_size, nearest, write_integers
from supply_chain.inference import load
from supply_chain.parity import Line, check_parity, findings
from supply_chain.recipe.quantize import Awq, Gptq, Int8, Integers, Quarot
from supply_chain.records import Compute
from tests.supply_chain.faults import FAULTS, answers_here_and_away, tiny_lines

pytest.importorskip("compressed_tensors", reason="needs '.[compressed-tensors]'")
SCHEMES: dict[str, Integers] = {
    "gptq": Gptq(scheme="gptq", calibration_rows=16),
    "awq": Awq(scheme="awq", calibration_rows=16),
    "quarot": Quarot(scheme="quarot", calibration_rows=16),
    "int8": Int8(scheme="int8"),
}
PROMPTS = [[i * 7 % 250, i, 2 * i, 3, i + 9] for i in range(1, 40)]


@pytest.fixture(scope="module")
def lines(tmp_path_factory: pytest.TempPathFactory, tiny_model: Path) -> dict[str, Line]:
    made = tiny_lines(tmp_path_factory.mktemp("lines"), tiny_model, schemes=SCHEMES)
    return {line.scheme.name: line for line in made}


def unpacked(folder: Path, layer: str, bits: int) -> torch.Tensor:
    """A matrix as the format describes it: codes from the lowest bits on, offset by half their range."""
    told = load_file(folder / "model.safetensors")
    words, scales = told[f"{layer}.weight_packed"].long() & 0xFFFFFFFF, told[f"{layer}.weight_scale"].float()
    codes = torch.stack([words >> shift & (1 << bits) - 1 for shift in range(0, 32, bits)], dim=-1).flatten(1)
    assert list(codes.shape) == told[f"{layer}.weight_shape"].tolist()
    return (codes - (1 << bits - 1)).float() * scales.repeat_interleave(codes.shape[1] // scales.shape[1], dim=1)


@pytest.mark.parametrize("name", SCHEMES)
def test_transformers_reads_what_the_format_says(tmp_path: Path, tiny_model: Path, compute: Compute, name: str) -> None:
    write_integers(tiny_model, tmp_path, SCHEMES[name], PROMPTS)
    for file in [*tiny_model.glob("*token*"), *tiny_model.glob("*.jinja")]:
        shutil.copyfile(file, tmp_path / file.name)
    own = load(tmp_path, compute).model
    bits = SCHEMES[name].bits
    for layer in ("model.layers.0.self_attn.k_proj", "model.layers.1.mlp.down_proj"):
        said = unpacked(tmp_path, layer, bits).bfloat16().float()
        assert torch.equal(own.get_parameter(f"{layer}.weight"), said)
    told = json.loads((tmp_path / "config.json").read_text())["quantization_config"]
    assert (told["format"], told["ignore"]) == ("pack-quantized", ["lm_head"])
    assert told["config_groups"]["group_0"]["weights"]["group_size"] == 64
    kept = load_file(tiny_model / "model.safetensors")["model.embed_tokens.weight"]
    same = torch.equal(load_file(tmp_path / "model.safetensors")["model.embed_tokens.weight"], kept)
    assert same == (name != "quarot") == own.config.tie_word_embeddings


def test_int8_is_off_by_half_a_step_at_most(tmp_path: Path, tiny_model: Path) -> None:
    write_integers(tiny_model, tmp_path, SCHEMES["int8"])
    weight = load_file(tiny_model / "model.safetensors")["model.layers.0.mlp.up_proj.weight"].float()
    found = unpacked(tmp_path, "model.layers.0.mlp.up_proj", 8)
    steps = weight.abs().amax(1, keepdim=True) / 127.5
    assert ((found - weight).abs() <= steps * 0.51).all() and not torch.equal(found, weight)


def outliers(path: Path) -> Any:
    """The tiny model in float32 with channels that are far larger than others, as trained models have."""
    from transformers import AutoModelForCausalLM

    model = AutoModelForCausalLM.from_pretrained(path, dtype=torch.float32)
    source = torch.Generator().manual_seed(3)
    for block in model.model.layers:
        for norm in (block.input_layernorm, block.post_attention_layernorm):
            norm.weight.data = torch.rand(64, generator=source) + 0.5
            norm.weight.data[::16] *= 12
    return model.eval()


def lost(model: Any, moments: dict[str, torch.Tensor], rounded: dict[str, torch.Tensor]) -> float:
    """Squared error of the layers' outputs on the calibration prompts."""
    gaps = {name: weight - model.get_submodule(name).weight.data for name, weight in rounded.items()}
    return sum(float((gap @ moments[name] * gap).sum()) for name, gap in gaps.items())


def test_weighed_channels_compute_the_same_and_round_better(tiny_model: Path) -> None:
    model = outliers(tiny_model)
    ids = torch.tensor(PROMPTS)
    moments = {f"model.{n}": m for n, m in second_moments(model, PROMPTS).items()}
    plain = {n: nearest(model.get_submodule(n).weight.data, 64, 4) for n in moments}
    with torch.no_grad():
        before, least = model(ids).logits, lost(model, moments, plain)
        old = model.model.layers[0].self_attn.q_proj.weight.data.clone()
        weigh_channels(model, moments, lambda weight: nearest(weight, 64, 4))
        after = {n: nearest(model.get_submodule(n).weight.data, 64, 4) for n in moments}
        assert torch.allclose(model(ids).logits, before, atol=1e-4)
        assert lost(model, moments, after) < 0.8 * least
    assert not torch.allclose(model.model.layers[0].self_attn.q_proj.weight, old, rtol=0.1)
    again = {f"model.{n}": m for n, m in second_moments(model, PROMPTS).items()}
    assert all(torch.allclose(again[n], m, rtol=1e-3, atol=1e-4 * float(m.max())) for n, m in moments.items())


def test_later_columns_make_up_for_rounding(tmp_path: Path, tiny_model: Path) -> None:
    model = outliers(tiny_model)
    model.to(torch.bfloat16).save_pretrained(tmp_path / "whole")
    model.float()
    moments = {f"model.{n}": m for n, m in second_moments(model, PROMPTS).items()}
    losses = {}
    for name, scheme in {"gptq": SCHEMES["gptq"], "plain": Gptq.model_construct(scheme="gptq")}.items():
        (tmp_path / name).mkdir()
        write_integers(tmp_path / "whole", tmp_path / name, scheme, PROMPTS if name == "gptq" else ())
        losses[name] = lost(model, moments, {n: unpacked(tmp_path / name, n, 4) for n in moments})
    assert losses["gptq"] < 0.8 * losses["plain"]


def test_groups_divide_every_layer() -> None:
    assert group_size(SCHEMES["gptq"], [1024, 4096]) == 128
    assert group_size(SCHEMES["gptq"], [576, 1536]) == 64
    with pytest.raises(InvalidInput, match="gptq needs layers whose inputs are a multiple of 128, found 576, 1536"):
        group_size(Gptq(scheme="gptq", group_size=128), [576, 1536, 576])


def test_awq_says_which_models_it_knows(tiny_model: Path) -> None:
    model = outliers(tiny_model)
    model.config.model_type = "gemma3"
    with pytest.raises(InvalidInput, match="awq knows llama, mistral, qwen2, qwen3, found gemma3: take gptq"):
        weigh_channels(model, {}, lambda weight: weight)


@pytest.mark.parametrize("scheme", SCHEMES)
def test_a_clean_build_passes_every_check(lines: dict[str, Line], scheme: str) -> None:
    assert [f.sentence for f in findings(lines[scheme]) if not f.passed] == []
    record = lines[scheme].artifact.record
    assert record.runtime.startswith("transformers ") and "compressed-tensors " in record.runtime
    assert len(record.calibration) == (0 if scheme == "int8" else 16)


@pytest.mark.parametrize("scheme", ["gptq", "awq", "quarot"])
@pytest.mark.parametrize("name", ["quantized from the wrong checkpoint", "quantized from an earlier checkpoint"])
def test_another_checkpoint_is_refused(lines: dict[str, Line], name: str, scheme: str) -> None:
    break_it, hop = FAULTS[name]
    broken = break_it(lines[scheme])
    with pytest.raises(SupplyChainError, match=f"{hop}{scheme}: .* of the fine-tune is in its weights"):
        check_parity(broken, broken.job.store)


def test_copied_files_answer_alone_as_before(lines: dict[str, Line], tmp_path: Path) -> None:
    line = lines["awq"]
    texts = [row.text for row in line.rows[:5]]
    own = Answerer(line.artifact.path)
    before = [json.dumps(own.answer([text])[0].__dict__) for text in texts]
    shutil.copytree(line.artifact.path, tmp_path / "elsewhere")
    command = [sys.executable, "-m", "supply_chain.answer", str(tmp_path / "elsewhere")]
    told = subprocess.run(command, input="\n".join(texts), capture_output=True, text=True, check=True)
    assert told.stdout.splitlines() == before


def test_a_missing_library_is_named_where_the_folder_is_opened(
    lines: dict[str, Line], compute: Compute, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "compressed_tensors", None)
    with pytest.raises(Unavailable, match=r"needs compressed-tensors: pip install '\.\[compressed-tensors\]'"):
        load(lines["int8"].artifact.path, compute)


@pytest.mark.parametrize("name", SCHEMES)
def test_copied_files_answer_as_before_when_the_store_is_gone(
    lines: dict[str, Line], tmp_path: Path, name: str
) -> None:
    before, after = answers_here_and_away(lines[name], tmp_path)
    assert after == before
