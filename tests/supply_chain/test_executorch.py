"""ExecuTorch: what does not fit is said before anything is lowered. What its artifacts compute: test_cached.py."""

import json
import shutil
import sys
from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

from supply_chain.errors import CorruptData, InvalidInput, Unavailable
from supply_chain.formats.executorch import write_executorch
from supply_chain.formats.extras import check_extras
from supply_chain.opening import open_artifact
from supply_chain.recipe import Recipe
from supply_chain.recipe.quantize import Executorch
from supply_chain.records import Compute

SCHEME = Executorch(scheme="executorch")


def refused(model: Path, folder: Path, scheme: Executorch, **values: Any) -> str:
    shutil.copytree(model, folder / "changed")
    told = json.loads((model / "config.json").read_text())
    (folder / "changed/config.json").write_text(json.dumps({**told, **values}))
    with pytest.raises(InvalidInput) as error:
        write_executorch(folder / "changed", folder, scheme)
    assert not (folder / "model.pte").exists()
    return str(error.value)


@pytest.mark.parametrize(
    ("values", "told"),
    [
        ({"architectures": ["GPT2LMHeadModel"]}, "found GPT2LMHeadModel: take another scheme"),
        ({"layer_types": ["full_attention", "sliding_attention"]}, "without a sliding window, found LlamaForCausalLM"),
        ({"sliding_window": 64}, "without a sliding window, found LlamaForCausalLM"),
        ({"max_position_embeddings": 256}, "context_tokens: 512 is more than the model's 256 tokens"),
    ],
)
def test_a_model_that_does_not_fit_is_told(tiny_model: Path, tmp_path: Path, values: dict[str, Any], told: str) -> None:
    assert told in refused(tiny_model, tmp_path, SCHEME, **values)


def test_groups_divide_every_layer(tiny_model: Path, tmp_path: Path) -> None:
    pytest.importorskip("torchao")
    told = refused(tiny_model, tmp_path, SCHEME.model_copy(update={"group_size": 128}))
    assert "128 does not divide the inputs of layers.0.self_attn.q_proj: set group_size" in told


def test_a_missing_runtime_says_its_own_line(tiny_recipe: Recipe, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "executorch", None)
    recipe = tiny_recipe.model_copy(update={"quantize": [SCHEME]})
    with pytest.raises(Unavailable, match=r"executorch needs executorch: pip install --no-deps executorch=="):
        check_extras(recipe)


def test_it_reads_what_training_reads(tiny_recipe: Recipe) -> None:
    told = tiny_recipe.model_dump(mode="json")
    told["train"]["max_tokens"] = 128
    told["quantize"] = [{"scheme": "executorch", "context_tokens": 64}]
    with pytest.raises(ValidationError, match=r"reads 64 tokens, train.max_tokens is \d+: raise context_tokens"):
        Recipe.model_validate(told)


def test_a_damaged_program_is_corrupt_data(tiny_model: Path, tmp_path: Path, compute: Compute) -> None:
    pytest.importorskip("executorch")
    shutil.copytree(tiny_model, tmp_path / "model")
    (tmp_path / "model/model.pte").write_bytes(b"\x00" * 500)
    with pytest.raises(CorruptData, match="holds no model that ExecuTorch can load"):
        open_artifact(tmp_path / "model", compute)
