"""What onnxruntime-genai's builder refuses, and files that onnxruntime refuses, are said clearly."""

import json
import shutil
import sys
from pathlib import Path

import pytest

from supply_chain.errors import CorruptData, InvalidInput
from supply_chain.formats.onnx import write_onnx
from supply_chain.onnx_model import open_onnx
from supply_chain.recipe.quantize import Onnx

pytest.importorskip("onnxruntime_genai", reason="needs '.[onnx]'")
SCHEME = Onnx(scheme="onnx")


def test_what_the_builder_does_not_take_is_said(
    tmp_path: Path, tiny_model: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shutil.copytree(tiny_model, tmp_path / "other")
    told = json.loads((tiny_model / "config.json").read_text())
    (tmp_path / "other/config.json").write_text(json.dumps({**told, "architectures": ["GPT2LMHeadModel"]}))
    with pytest.raises(InvalidInput, match=r"onnx needs one of LlamaForCausalLM, .*, found GPT2LMHeadModel"):
        write_onnx(tmp_path / "other", tmp_path, SCHEME)
    monkeypatch.setattr(sys, "executable", "/bin/false")
    with pytest.raises(InvalidInput, match="the model builder refused LlamaForCausalLM"):
        write_onnx(tiny_model, tmp_path, SCHEME)


def test_a_damaged_file_is_corrupt_data(tiny_model: Path, tmp_path: Path) -> None:
    write_onnx(tiny_model, tmp_path, SCHEME)
    (tmp_path / "model.onnx").write_bytes(b"onnx")
    with pytest.raises(CorruptData, match="holds no model that onnxruntime can load"):
        open_onnx(tmp_path, 1)
