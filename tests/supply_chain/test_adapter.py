"""The adapter as an artifact of its own: what it says, what it refuses, and which recipes may ask for one."""

import json
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError
from safetensors.torch import load_file, save_file

from supply_chain.answer import Answerer
from supply_chain.artifacts import merge, quantize
from supply_chain.errors import CorruptData, EvidenceMismatch, InvalidInput
from supply_chain.opening import open_artifact
from supply_chain.parity import Line, check_parity
from supply_chain.recipe.adapter import room_for
from supply_chain.recipe.quantize import Adapter
from supply_chain.unmerged import unmerged
from tests.supply_chain.faults import scaled_adapter, stored, tiny_lines
from tests.supply_chain.test_quantize_block import recipe

ADAPTER = Adapter(scheme="adapter")


@pytest.fixture(scope="module")
def line(tmp_path_factory: pytest.TempPathFactory, tiny_model: Path) -> Line:
    made = tiny_lines(tmp_path_factory.mktemp("adapter"), tiny_model)[-1]
    return replace(made, artifact=unmerged(made.job, made.trained, made.merged), scheme=ADAPTER)


def test_it_names_its_base_and_says_how_to_start_it(line: Line) -> None:
    record = line.artifact.record
    assert (record.format, record.bits, record.rank, record.made_from) == ("adapter", 16, 4, line.trained.digest)
    assert (record.base_digest, record.origins) == (line.job.base.digest, line.merged.record.origins)
    assert record.start == "python -m supply_chain.answer FOLDER BASE"
    config = json.loads((line.artifact.path / "adapter_config.json").read_text())
    assert (config["base_model_name_or_path"], config["revision"]) == ("tiny", line.job.base.digest)
    assert line.artifact.size_bytes < line.merged.size_bytes / 2
    with pytest.raises(InvalidInput, match="stands for what training made"):
        quantize(line.job, line.merged, ADAPTER)


def test_it_answers_over_its_base_as_the_merged_model_does(line: Line) -> None:
    texts = [row.text for row in line.rows[:20]]
    alone, merged = Answerer(line.artifact.path, line.job.base.path), Answerer(line.merged.path)
    pairs = list(zip(alone.answer(texts), merged.answer(texts), strict=True))
    assert [a.label for a, _ in pairs] == [b.label for _, b in pairs]
    assert max(abs(a.confidence - b.confidence) for a, b in pairs) < 0.02


def test_another_base_is_refused_and_so_is_none(line: Line, tmp_path: Path) -> None:
    compute = line.trained.record.compute
    with pytest.raises(InvalidInput, match=r"name the folder of its base, too \(tiny, digest"):
        open_artifact(line.artifact.path, compute)
    with pytest.raises(CorruptData, match="is not the base that the adapter was trained on: expected tiny with digest"):
        open_artifact(line.artifact.path, compute, line.merged.path)
    shutil.copytree(line.job.base.path, tmp_path / "base")
    weights = load_file(tmp_path / "base/model.safetensors")
    save_file({k: v * 1.01 for k, v in weights.items()}, tmp_path / "base/model.safetensors", {"format": "pt"})
    with pytest.raises(CorruptData, match="is not the base"):
        open_artifact(line.artifact.path, compute, tmp_path / "base")
    with pytest.raises(CorruptData, match="is no stored base model"):
        open_artifact(line.artifact.path, compute, tmp_path)


def test_a_zeroed_adapter_and_one_of_another_training_are_refused(line: Line) -> None:
    zeroed = scaled_adapter(line, 0.0)
    merged = merge(line.job, zeroed)
    broken = replace(line, trained=zeroed, merged=merged, artifact=unmerged(line.job, zeroed, merged))
    with pytest.raises(EvidenceMismatch, match="base → adapter: the adapter changes nothing"):
        check_parity(broken, line.job.store)
    half = unmerged(line.job, scaled_adapter(line, 0.5), line.merged)
    same = stored(line, half, "half", lambda folder: _copy(half.path, folder), made_from=line.trained.digest)
    with pytest.raises(EvidenceMismatch, match=r"base → adapter: 0\.5\d? of the fine-tune"):
        check_parity(replace(line, artifact=same), line.job.store)
    with pytest.raises(EvidenceMismatch, match="base → adapter: it was made from"):
        check_parity(replace(line, artifact=half), line.job.store)


def _copy(source: Path, folder: Path) -> None:
    for file in source.iterdir():
        if file.name != "entry.json":
            shutil.copyfile(file, folder / file.name)


def asked(tmp_path: Path, train: dict[str, Any], **blocks: Any) -> str:
    with pytest.raises(ValidationError) as told:
        recipe(tmp_path, quantize=[{"scheme": "bnb-nf4"}, {"scheme": "adapter"}], train=train, **blocks)
    return str(told.value)


@pytest.mark.parametrize(
    ("train", "said"),
    [
        ({"method": "lora", "rank": 12}, "train.rank: an adapter that is served beside others has a rank of 1, 8, 16"),
        ({"method": "lora", "dora": True}, "train.dora: vLLM does not serve DoRA"),
        ({"method": "lora", "peft": {"alpha_pattern": {"q_proj": 1}}}, "train.peft: vLLM does not read alpha_pattern"),
        ({"method": "lora", "targets": ["q_proj", "lm_head"]}, "train.targets: lm_head lies outside the layers"),
        ({"method": "full"}, "quantize: adapter needs train.method lora or qlora"),
        ({"method": "head"}, "quantize: adapter needs train.method lora or qlora"),
        (
            {"method": "preference", "pairs": {"kind": "mistakes"}, "tune": "full"},
            "quantize: adapter needs train.method lora or qlora",
        ),
        (
            {"method": "preference", "pairs": {"kind": "mistakes"}, "start": "other"},
            "quantize: adapter would lie over the weights of other",
        ),
    ],
)
def test_what_a_shared_server_refuses_or_ignores_is_a_fault_of_the_recipe(
    tmp_path: Path, train: dict[str, Any], said: str
) -> None:
    assert said in asked(tmp_path, train)


def test_ranks_and_dora_of_a_search_count_too(tmp_path: Path) -> None:
    ranges = {"rank": {"choices": [8, 24]}, "dora": {"choices": [True, False]}}
    said = asked(tmp_path, {"method": "lora", "stopping": {}}, search={"ranges": ranges})
    assert "found 24; take 16 or 32" in said and "train.dora" in said
    span = {"rank": {"low": 8, "high": 64}}
    said = asked(tmp_path / "b", {"method": "lora", "stopping": {}}, search={"ranges": span})
    assert "name its ranks: {choices: [8, 16, 32]}" in said


def test_an_adapter_is_no_candidate(tmp_path: Path) -> None:
    found = recipe(tmp_path, quantize=[{"scheme": "adapter"}, {"scheme": "bnb-nf4"}], train={"method": "lora"})
    assert [scheme.name for scheme in found.candidates] == ["bnb-nf4"]
    with pytest.raises(ValidationError, match="it is no candidate: name a format beside it"):
        recipe(tmp_path / "b", quantize=[{"scheme": "adapter"}], train={"method": "lora"})


@pytest.mark.parametrize(("ranks", "room"), [([1], 1), ([2, 4], 8), ([16, 8], 16), ([257], 320), ([512], 512)])
def test_room_is_the_least_rank_that_vllm_takes(ranks: list[int], room: int) -> None:
    assert room_for(ranks) == room
