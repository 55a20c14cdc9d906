"""Turned weights compute what they did before, and lose less to rounding where a few channels stand out."""

from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import AutoModelForCausalLM, AutoModelForSequenceClassification

from supply_chain.compensate import second_moments
from supply_chain.errors import InvalidInput
from supply_chain.formats.integers import nearest
from supply_chain.formats.rotation import norm_of, orthogonal, rotate, rotation_of
from supply_chain.heads import pooled
from tests.supply_chain.test_integers import PROMPTS, outliers

SHAPE = {
    "vocab_size": 256,
    "hidden_size": 96,
    "intermediate_size": 80,
    "num_hidden_layers": 2,
    "num_attention_heads": 6,
    "num_key_value_heads": 2,
}


@pytest.mark.parametrize("size", [1, 7, 64, 96, 576])
def test_a_rotation_keeps_lengths_and_spreads_each_channel(size: int) -> None:
    found = orthogonal(size, seed=3)
    assert torch.allclose(found @ found.T, torch.eye(size, dtype=torch.float64), atol=1e-12)
    assert float(found.abs().max()) <= (2 / size) ** 0.5 + 1e-9 or size == 1
    assert torch.equal(found, orthogonal(size, seed=3))
    assert size == 1 or not torch.equal(found, orthogonal(size, seed=4))


def untrained(kind: str, family: str, **more: Any) -> Any:
    """A small model in float32 whose norms and biases are no ones and zeros."""
    from transformers import AutoConfig

    torch.manual_seed(5)
    config = AutoConfig.for_model(family, **SHAPE, **more)
    classes = {"words": AutoModelForCausalLM, "labels": AutoModelForSequenceClassification}
    model = classes[kind].from_config(config, dtype=torch.float32)
    for name, parameter in model.named_parameters():
        if "norm" in name or name.endswith("bias"):
            parameter.data += torch.rand_like(parameter) * 2
    return model.eval()


@pytest.mark.parametrize(
    ("kind", "family", "more"),
    [
        ("words", "llama", {"tie_word_embeddings": True}),
        ("words", "llama", {"attention_bias": True, "mlp_bias": True}),
        ("words", "qwen2", {"tie_word_embeddings": True}),
        ("words", "qwen3", {"head_dim": 32}),
        ("labels", "llama", {"num_labels": 4, "pad_token_id": 0}),
    ],
)
def test_what_it_computes_stays_as_it_was(tmp_path: Path, kind: str, family: str, more: dict[str, Any]) -> None:
    model = untrained(kind, family, **more)
    before = model.get_decoder().layers[0].self_attn.v_proj.weight.data.clone()
    assert rotation_of(tmp_path) is None
    with torch.no_grad():
        answers = computed(model)
        rotate(model, tmp_path)
        assert torch.allclose(computed(model), answers, atol=2e-4, rtol=1e-4)
    turn = rotation_of(tmp_path)
    assert turn is not None and not model.config.tie_word_embeddings
    after = model.get_decoder().layers[0].self_attn.v_proj.weight.data
    norm = untrained(kind, family, **more).get_decoder().layers[0].input_layernorm.weight.data
    assert not torch.allclose(after, before, atol=1e-2)
    assert torch.allclose(turn.back().turned("v_proj", after).float() / norm, before, atol=1e-5)


def computed(model: Any) -> torch.Tensor:
    ids = torch.tensor(PROMPTS)
    if hasattr(model, "score"):
        states = model.get_decoder()(input_ids=ids).last_hidden_state
        found: torch.Tensor = model.score(pooled(model, states, torch.ones_like(ids)))
        return found
    logits: torch.Tensor = model(ids).logits
    return logits


def test_channels_that_stand_out_cost_less_when_turned(tiny_model: Path, tmp_path: Path) -> None:
    losses = []
    for turned in (False, True):
        model = outliers(tiny_model)
        with torch.no_grad():
            before = computed(model)
            if turned:
                rotate(model, tmp_path)
            for name in second_moments(model, PROMPTS):
                layer = model.get_decoder().get_submodule(name)
                layer.weight.data = nearest(layer.weight.data, 64, 4)
            losses.append(float((computed(model) - before).square().mean()))
    assert losses[1] < 0.9 * losses[0], losses


def test_other_builds_are_refused_and_norms_are_known(tiny_model: Path, tmp_path: Path) -> None:
    model = outliers(tiny_model)
    model.config.model_type = "gemma3"
    with pytest.raises(InvalidInput, match="quarot knows llama, mistral, qwen2, qwen3, found gemma3: take gptq"):
        rotate(model, tmp_path)
    assert norm_of("model.layers.3.mlp.up_proj") == "model.layers.3.post_attention_layernorm"
    assert norm_of("model.layers.3.self_attn.k_proj") == "model.layers.3.input_layernorm"
    assert norm_of("model.layers.3.self_attn.o_proj") is None
