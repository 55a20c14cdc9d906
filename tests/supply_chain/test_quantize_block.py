"""The `quantize` block: schemes that fit, and what is said of those that do not."""

import sys
from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

from supply_chain.errors import Unavailable
from supply_chain.formats.extras import check_extras, needed
from supply_chain.recipe import Recipe
from supply_chain.recipe.quantize import Gguf, Integers, read_choice
from tests.conftest import write_tiny_project


def recipe(tmp_path: Path, **blocks: Any) -> Recipe:
    import yaml

    told = yaml.safe_load(write_tiny_project(tmp_path).read_text())
    return Recipe.model_validate({**told, **blocks})


def test_schemes_have_names_bits_and_bounds(tmp_path: Path) -> None:
    schemes = [{"scheme": "bnb-nf4"}, {"scheme": "gguf"}, {"scheme": "gguf", "type": "q8_0", "max_shift": 0.2}]
    schemes += [{"scheme": "gptq"}, {"scheme": "awq", "group_size": 32}, {"scheme": "int8"}]
    found = recipe(tmp_path, quantize=schemes).quantize
    assert [(s.name, s.bits, s.shift_bound) for s in found] == [
        ("bnb-nf4", 4, 0.75), ("gguf-q4_k_m", 4, 0.75), ("gguf-q8_0", 8, 0.2),
        ("gptq", 4, 0.75), ("awq", 4, 0.75), ("int8", 8, 0.1),
    ]  # fmt: skip
    assert [s.calibration_rows for s in found if isinstance(s, Integers)] == [256, 256, 0]
    with pytest.raises(ValidationError, match=r"32, 64 or 128"):
        recipe(tmp_path / "b", quantize=[{"scheme": "gptq", "group_size": 96}])


def test_what_does_not_fit_is_a_fault(tmp_path: Path) -> None:
    head = {"method": "head"}
    with pytest.raises(ValidationError) as told:
        recipe(tmp_path, quantize=[{"scheme": "gguf"}, {"scheme": "gguf", "type": "q4_k_m"}], train=head)
    assert "gguf-q4_k_m stands twice" in str(told.value)
    assert "train.method makes a head of labels" in str(told.value)
    with pytest.raises(ValidationError, match="must read like `smallest within 1 point`"):
        recipe(tmp_path / "b", choose="cheapest")


@pytest.mark.parametrize(
    ("text", "read"),
    [
        ("smallest within 1 point", ("smallest", 0.01, None)),
        ("fastest within 0.5 points", ("fastest", 0.005, None)),
        ("fastest under 200 MB", ("fastest", None, 200.0)),
    ],
)
def test_choices_are_read(text: str, read: tuple[str, float | None, float | None]) -> None:
    assert read_choice(text) == read


def test_a_missing_extra_is_named_with_its_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "cyllama.llama.llama_cpp", None)
    with pytest.raises(Unavailable, match=r"gguf-q8_0 needs cyllama: pip install '\.\[gguf\]'"):
        needed(Gguf(scheme="gguf", type="q8_0"))
    monkeypatch.setattr("supply_chain.formats.extras.find_spec", lambda name: None)
    with pytest.raises(Unavailable, match=r"gguf-q4_k_m needs cyllama: pip install '\.\[gguf\]'"):
        check_extras(recipe(tmp_path, quantize=[{"scheme": "bnb-nf4"}, {"scheme": "gguf"}]))
    with pytest.raises(Unavailable, match=r"awq needs compressed-tensors: pip install '\.\[compressed-tensors\]'"):
        check_extras(recipe(tmp_path / "a", quantize=[{"scheme": "awq"}]))
    check_extras(recipe(tmp_path / "b"))
