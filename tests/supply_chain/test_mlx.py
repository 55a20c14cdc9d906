"""MLX: the rotary settings that transformers 5 writes elsewhere are kept; what mlx-lm refuses is said clearly."""

import json
import platform
import shutil
from pathlib import Path

import pytest

from supply_chain.errors import CorruptData, InvalidInput, Unavailable
from supply_chain.formats.extras import check_extras
from supply_chain.formats.mlx import rotary, write_mlx
from supply_chain.mlx_model import is_mlx, open_mlx
from supply_chain.opening import open_artifact
from supply_chain.recipe import Recipe
from supply_chain.recipe.quantize import Mlx
from supply_chain.records import Compute

pytest.importorskip("mlx_lm", reason="needs '.[mlx]'")
SCHEME = Mlx(scheme="mlx", group_size=32)


def changed(model: Path, folder: Path, **values: object) -> Path:
    """A copy of a model with other values in its configuration."""
    shutil.copytree(model, folder)
    told = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps({**told, **values}))
    return folder


def test_mlx_turns_positions_as_the_model_was_trained(tiny_model: Path, tmp_path: Path) -> None:
    source = changed(tiny_model, tmp_path / "x", rope_parameters={"rope_theta": 12345.0, "rope_type": "default"})
    (tmp_path / "out").mkdir()
    write_mlx(source, tmp_path / "out", SCHEME)
    assert is_mlx(tmp_path / "out") and not is_mlx(source)
    assert open_mlx_args(tmp_path / "out", tiny_model).rope_theta == 12345.0
    scaled = {"rope_theta": 5.0, "rope_type": "linear", "factor": 2.0}
    other = changed(tiny_model, tmp_path / "y", rope_parameters=scaled)
    assert rotary(other) == {"rope_theta": 5.0, "rope_scaling": {"rope_type": "linear", "factor": 2.0}}


def open_mlx_args(folder: Path, model: Path) -> object:
    for name in ("tokenizer.json", "tokenizer_config.json"):
        shutil.copyfile(model / name, folder / name)
    return open_mlx(folder).model.model.args


def test_what_mlx_does_not_take_is_said(tiny_model: Path, tmp_path: Path) -> None:
    with pytest.raises(InvalidInput, match=r"quantize: mlx-lm refuses the model: .*nonesuch.*: take another scheme"):
        write_mlx(changed(tiny_model, tmp_path / "x", model_type="nonesuch"), tmp_path, SCHEME)
    with pytest.raises(InvalidInput, match=r"quantize: mlx: 128 does not divide the inputs of .*: set group_size"):
        write_mlx(tiny_model, tmp_path, SCHEME.model_copy(update={"group_size": 128}))


@pytest.mark.skipif(platform.system() == "Darwin", reason="there it runs")
def test_a_recipe_is_told_before_training_where_mlx_is_too_slow(tiny_recipe: Recipe) -> None:
    check_extras(tiny_recipe)
    with pytest.raises(Unavailable, match=r"mlx is judged where it serves, on Apple silicon .* leave mlx out"):
        check_extras(tiny_recipe.model_copy(update={"quantize": [*tiny_recipe.quantize, SCHEME]}))


def test_a_damaged_folder_is_corrupt_data(tiny_model: Path, tmp_path: Path, compute: Compute) -> None:
    write_mlx(tiny_model, tmp_path, SCHEME)
    open_mlx_args(tmp_path, tiny_model)
    (tmp_path / "model.safetensors").write_bytes(b"mlx")
    with pytest.raises(CorruptData, match="holds no model that mlx-lm can load"):
        open_mlx(tmp_path)
    (tmp_path / "config.json").write_bytes(b'{"quantization": {"group_s')
    with pytest.raises(CorruptData, match="holds no model that can be loaded"):
        open_artifact(tmp_path, compute)
