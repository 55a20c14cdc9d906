"""Fine-tuning resumes bit for bit, fails clearly, and 4 bits survive the library's CPU traps."""

import dataclasses
import json
import shutil
import time
from pathlib import Path

import bitsandbytes as bnb
import numpy as np
import pytest
import torch
from transformers import TrainerState

from supply_chain.artifacts import merge, quantize, save_nf4
from supply_chain.calibration import fit_calibration
from supply_chain.catalogue import BaseModelEntry
from supply_chain.compensate import compensate
from supply_chain.errors import InvalidInput, SupplyChainError
from supply_chain.hub import provide_base
from supply_chain.inference import load
from supply_chain.job import Job
from supply_chain.keys import adapter_key
from supply_chain.prompt import Renderer
from supply_chain.recipe import Recipe
from supply_chain.recipe.quantize import BnbNf4
from supply_chain.records import Compute, Splits
from supply_chain.serving import read_serving
from supply_chain.settings import Settings
from supply_chain.store import Store, Stored
from supply_chain.tracking import NoTracker
from supply_chain.training import train
from supply_chain.watching import Bar
from tests.supply_chain.driving import start

PLAIN = BnbNf4(scheme="bnb-nf4", calibration_rows=0)
CPU = Compute(device="cpu", dtype="float32", attention="eager", threads=1)


def entry(path: Path) -> BaseModelEntry:
    return BaseModelEntry.model_validate(
        {
            "name": "tiny", "size": "small", "role": "student", "source": {"kind": "path", "path": str(path)},
            "revision": "1", "license": "CC0-1.0", "languages": ["en"], "context_tokens": 512, "parameters": 100_000,
        }
    )  # fmt: skip


def make_job(home: Path, tiny_model: Path, recipe: Recipe, splits: Stored[Splits], **changes: object) -> Job:
    settings = Settings(home=home, compute="float32:eager:1")
    store = Store.of(settings)
    recipe = recipe.model_copy(update={"train": recipe.train.model_copy(update=changes)})
    return Job(recipe, provide_base(entry(tiny_model), home / "downloads", store), splits, settings, store)


@pytest.fixture
def job(tmp_path: Path, tiny_model: Path, tiny_recipe: Recipe, tiny_splits: Stored[Splits]) -> Job:
    return make_job(tmp_path / "home", tiny_model, tiny_recipe, tiny_splits, max_steps=6, checkpoint_steps=2)


def tracker(key: str) -> NoTracker:
    return NoTracker()


def test_trained_merged_and_quantized(job: Job) -> None:
    trained = train(job, tracker)
    assert [p.step for p in trained.record.losses] == [1, 2, 3, 4, 5, 6]
    assert set(trained.files) == {"adapter_config.json", "adapter_model.safetensors"}
    targets = json.loads((trained.path / "adapter_config.json").read_text())["target_modules"]
    assert targets == sorted(targets), "a set's order differs from process to process, and so would the digest"
    assert not (job.store.root / "work" / trained.key).exists()
    assert "home" not in (trained.path / "adapter_config.json").read_text()

    merged = merge(job, trained)
    base, tuned = load(job.base.path, CPU), load(merged.path, CPU)
    ids = torch.tensor([[5, 6, 7]])
    assert not torch.equal(base.model(ids).logits, tuned.model(ids).logits)
    assert tuned.tokenizer.chat_template == base.tokenizer.chat_template
    assert read_serving(merged.path).labels == job.labels

    four = quantize(job, merged, job.recipe.quantize[0])
    assert (four.record.bits, four.record.made_from) == (4, merged.digest)
    assert four.record.tokenizer_sha256 == merged.record.tokenizer_sha256 == job.base.record.tokenizer_sha256
    close = torch.nn.functional.cosine_similarity(
        load(four.path, CPU).model(ids).logits.float(), tuned.model(ids).logits, dim=-1
    )
    assert close.min() > 0.9


@pytest.mark.parametrize("train_block", [{"method": "lora", "rank": 2}, {"method": "head", "tune": "full"}])
def test_arithmetic_is_chosen_by_steps_of_this_very_training(
    train_block: dict[str, object], tmp_path: Path, tiny_model: Path, tiny_recipe: Recipe, tiny_splits: Stored[Splits]
) -> None:
    recipe = Recipe.model_validate({**tiny_recipe.model_dump(), "train": {**train_block, "max_steps": 2}})
    job = make_job(tmp_path / "home", tiny_model, recipe, tiny_splits)
    job = dataclasses.replace(job, settings=Settings(home=tmp_path / "home", threads=1))
    compute = train(job, tracker).record.compute
    assert (compute.device, compute.threads) == ("cpu", 1)


def test_kill_9_then_resume_gives_the_same_bits(
    tmp_path: Path, tiny_model: Path, tiny_recipe: Recipe, tiny_splits: Stored[Splits]
) -> None:
    changes = {"max_steps": 40, "checkpoint_steps": 3}
    whole = train(make_job(tmp_path / "one", tiny_model, tiny_recipe, tiny_splits, **changes), tracker)
    job = make_job(tmp_path / "two", tiny_model, tiny_recipe, tiny_splits, **changes)
    work = job.store.root / "work" / adapter_key(job)
    for steps in (6, 21):
        process = start("train", job, tmp_path)
        while not any(int(p.name.rpartition("-")[2]) >= steps for p in work.glob("checkpoint-*")):
            assert process.exitcode is None
            time.sleep(0.005)
        process.kill()
        process.join()
    resumed = train(job, tracker)
    assert resumed.files == whole.files
    assert resumed.record.losses == whole.record.losses


def test_a_resumed_run_counts_its_own_steps_for_the_time_left() -> None:
    bar, state = Bar(), TrainerState(global_step=1200, max_steps=2345)
    bar.on_train_begin(None, state, None)
    state.global_step += 1
    bar.on_step_end(None, state, None)
    shown = bar.training_bar.format_dict
    bar.on_train_end(None, state, None)
    assert (shown["initial"], shown["n"], shown["total"]) == (1200, 1201, 2345)


def test_a_half_written_checkpoint_does_not_count(job: Job) -> None:
    work = job.store.workdir(adapter_key(job))
    (work / "checkpoint-4").mkdir()
    (work / "checkpoint-4/trainer_state.json").write_text('{"global_step": 4')
    assert train(job, tracker).record.steps == 6


def test_an_example_that_is_too_long_is_named(
    tmp_path: Path, tiny_model: Path, tiny_recipe: Recipe, tiny_splits: Stored[Splits]
) -> None:
    job = make_job(tmp_path / "home", tiny_model, tiny_recipe, tiny_splits, max_tokens=10)
    with pytest.raises(InvalidInput, match=r"line \d+ needs \d+ tokens, more than train.max_tokens = 10"):
        train(job, tracker)


def test_divergence_stops_with_its_cause(
    tmp_path: Path, tiny_model: Path, tiny_recipe: Recipe, tiny_splits: Stored[Splits]
) -> None:
    broken = tmp_path / "broken"
    shutil.copytree(tiny_model, broken)
    from safetensors.torch import load_file, save_file

    weights = load_file(broken / "model.safetensors")
    weights["model.norm.weight"] = torch.full_like(weights["model.norm.weight"], float("nan"))
    save_file(weights, broken / "model.safetensors", {"format": "pt"})
    job = make_job(tmp_path / "home", broken, tiny_recipe, tiny_splits)
    with pytest.raises(SupplyChainError, match="diverged: the loss is nan at step 1"):
        train(job, tracker)


def test_every_decision_changes_the_identity(job: Job) -> None:
    def key(**changes: object) -> str:
        train_ = job.recipe.train.model_copy(update=changes)
        return adapter_key(
            Job(job.recipe.model_copy(update={"train": train_}), job.base, job.splits, job.settings, job.store)
        )

    keys = [key(), key(learning_rate=1e-3), key(rank=8), key(epochs=2.0), key(max_steps=7)]
    assert len(set(keys)) == len(keys)
    gate = job.recipe.promote.model_copy(update={"minimum": 0.9})
    assert adapter_key(dataclasses.replace(job, recipe=job.recipe.model_copy(update={"promote": gate}))) == key()


def test_context_and_answer_tokens_are_those_of_the_whole_text(job: Job) -> None:
    tokenizer = load(job.base.path, CPU).tokenizer
    renderer = Renderer.of(job.recipe.prompt, job.labels, tokenizer)
    for answer in renderer.answers:
        context = renderer.context("a text")
        whole = tokenizer(context + answer, add_special_tokens=False)["input_ids"]
        assert whole == [
            *tokenizer(context, add_special_tokens=False)["input_ids"],
            *tokenizer(answer, add_special_tokens=False)["input_ids"],
        ]


# bitsandbytes repacks 4-bit weights in place at the first forward pass on AVX512-bf16 CPUs.


def four_bit(tiny_model: Path, folder: Path, guarded: bool):  # type: ignore[no-untyped-def]
    model = save_nf4(tiny_model, folder, PLAIN)
    if not guarded:
        for module in model.modules():
            if hasattr(module, "support_avx512bf16_for_cpu"):
                module.support_avx512bf16_for_cpu = torch.cpu._is_avx512_bf16_supported()
    return model.eval()


def packed_layers(model) -> int:  # type: ignore[no-untyped-def]
    with torch.inference_mode():
        model(torch.tensor([[1, 2, 3]]))
    states = [m.weight.quant_state for m in model.modules() if hasattr(m, "support_avx512bf16_for_cpu")]
    assert len(states) == 14
    return sum(bool(getattr(state, "packing_format_for_cpu", False)) for state in states)


def test_a_forward_pass_leaves_guarded_weights_as_they_were(tiny_model: Path, tmp_path: Path) -> None:
    model = four_bit(tiny_model, tmp_path / "a", guarded=True)
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    assert packed_layers(model) == 0
    after = model.state_dict()
    assert before.keys() == after.keys()
    assert all(torch.equal(before[name], after[name]) for name in before)


def test_the_guard_is_needed_here(tiny_model: Path, tmp_path: Path) -> None:
    if not torch.cpu._is_avx512_bf16_supported():
        pytest.skip("this CPU has no AVX512-bf16: bitsandbytes does not repack")
    assert packed_layers(four_bit(tiny_model, tmp_path / "b", guarded=False)) > 0


def test_loading_guards_every_4_bit_layer(tiny_model: Path, tmp_path: Path) -> None:
    save_nf4(tiny_model, tmp_path / "c", PLAIN)
    for name in ("tokenizer.json", "tokenizer_config.json"):
        shutil.copy(tiny_model / name, tmp_path / "c" / name)
    loaded = load(tmp_path / "c", CPU.model_copy(update={"dtype": "bfloat16"}))
    flags = [m.support_avx512bf16_for_cpu for m in loaded.model.modules() if hasattr(m, "support_avx512bf16_for_cpu")]
    assert len(flags) == 14
    assert not any(flags)


def test_chosen_codes_keep_the_outputs_better_than_nearest_ones() -> None:
    torch.manual_seed(1)
    weight = torch.randn(32, 128) * 0.05
    inputs = torch.randn(2000, 16) @ torch.randn(16, 128) + 0.1 * torch.randn(2000, 128)
    layer = bnb.nn.Linear4bit(128, 32, bias=False, quant_type="nf4", compute_dtype=torch.float32)
    layer.weight = bnb.nn.Params4bit(weight, requires_grad=False, quant_type="nf4")
    layer = layer.to("cpu")

    def error() -> float:
        kept = bnb.functional.dequantize_4bit(layer.weight.data, layer.weight.quant_state).float()
        return float(((inputs @ (kept - weight).T) ** 2).mean())

    nearest = error()
    compensate(layer, weight, inputs.T @ inputs)
    assert 0 < error() < 0.25 * nearest


def test_a_temperature_undoes_overconfidence_and_changes_no_answer() -> None:
    rng = np.random.default_rng(0)
    honest = rng.normal(size=(4000, 3)) * 2
    shares = np.exp(honest) / np.exp(honest).sum(axis=1, keepdims=True)
    truth = [int(rng.choice(3, p=row)) for row in shares]
    found = fit_calibration((honest * 3).tolist(), truth)
    assert found.temperature == pytest.approx(3, rel=0.1)
    assert np.argmax(found.probabilities(honest.tolist()), axis=1).tolist() == honest.argmax(axis=1).tolist()
