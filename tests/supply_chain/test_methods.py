"""Every training method, from recipe to the served answer."""

from dataclasses import replace
from pathlib import Path
from statistics import median
from typing import Any

import pytest
import torch
from pydantic import TypeAdapter
from torch.nn.modules.module import register_module_forward_hook

from evals.answering import predict_model
from evals.predictions import read_predictions
from supply_chain.artifacts import merge, quantize
from supply_chain.errors import InvalidInput, InvalidRecipe
from supply_chain.inference import load
from supply_chain.job import Job
from supply_chain.prompt import Renderer
from supply_chain.recipe import Recipe, load_recipe
from supply_chain.recipe.part import Surroundings
from supply_chain.recipe.schema import Train
from supply_chain.records import Splits
from supply_chain.scoring import label_likelihoods
from supply_chain.store import Stored
from supply_chain.trainable import open_trainable
from supply_chain.training import train
from tests.conftest import write_tiny_project
from tests.supply_chain.test_training import CPU, make_job, tracker

LOOP = {"max_steps": 24, "batch_size": 16, "max_tokens": 64, "learning_rate": 0.01}
METHODS: dict[str, dict[str, Any]] = {
    "dora": {
        "method": "lora",
        "rank": 2,
        "dora": True,
        "rslora": True,
        "init": "orthogonal",
        "targets": ["v_proj", "down_proj"],
    },
    "qlora": {"method": "qlora", "rank": 2},
    "full": {"method": "full"},
    "full_top": {"method": "full", "top_layers": 1},
    "lora_top": {"method": "lora", "rank": 2, "top_layers": 1},
    "head_lora": {"method": "head", "lora": {"rank": 4}, "learning_rate": 0.003},
    "head_full": {"method": "head", "tune": "full", "top_layers": 1, "pooling": "mean", "learning_rate": 0.001},
    "head_only": {"method": "head", "tune": "nothing"},
}


def spec(**values: Any) -> Any:
    return TypeAdapter(Train).validate_python({**LOOP, **values})


def job_of(home: Path, tiny_model: Path, recipe: Recipe, splits: Stored[Splits], **values: Any) -> Job:
    return make_job(home, tiny_model, recipe.model_copy(update={"train": spec(**values)}), splits)


@pytest.mark.parametrize("name", METHODS)
def test_a_method_trains_merges_and_answers(
    name: str, tmp_path: Path, tiny_model: Path, tiny_recipe: Recipe, tiny_splits: Stored[Splits]
) -> None:
    job = job_of(tmp_path / "home", tiny_model, tiny_recipe, tiny_splits, **METHODS[name])
    trained = train(job, tracker)
    whole = name.startswith("full") or name in {"head_full", "head_only"}
    assert trained.record.form == ("weights" if whole else "adapter")
    assert (trained.record.head is not None) == name.startswith("head")
    losses = [point.loss for point in trained.record.losses]
    assert median(losses[-8:]) < median(losses[:4])
    before, after = load(job.base.path, CPU), load(merge(job, trained).path, CPU)
    old, new = (dict(model.model.get_decoder().named_parameters()) for model in (before, after))
    changed = {n.split(".")[1] for n, weight in new.items() if not torch.equal(weight, old[n])}
    lower = {"weight"} if "embed_tokens.weight" in changed else set()
    expected = {"full": {"0", "1", "weight"}, "head_only": set()}
    if name in {"full_top", "lora_top", "head_full"}:
        assert "0" not in changed
        assert "1" in changed
    else:
        assert changed - lower == expected.get(name, {"0", "1"})
    renderer = Renderer.of(job.recipe.prompt, job.labels, after.tokenizer)
    (row,) = label_likelihoods(after, renderer, ["the phone is great"])
    if trained.record.head:
        assert sum(map(torch.exp, torch.tensor(row))) == pytest.approx(1, abs=1e-4)


@pytest.mark.parametrize("name", ["full", "full_top", "head_full", "head_only"])
def test_weights_that_learn_multiply_in_bfloat16(
    name: str, tmp_path: Path, tiny_model: Path, tiny_recipe: Recipe, tiny_splits: Stored[Splits]
) -> None:
    job = job_of(tmp_path / "home", tiny_model, tiny_recipe, tiny_splits, **METHODS[name] | {"max_steps": 1})
    settings = job.settings.model_copy(update={"compute": "bfloat16:eager:1"})
    found: set[torch.dtype] = set()

    def note(module: torch.nn.Module, given: Any, out: Any) -> None:
        if isinstance(module, torch.nn.Linear):
            found.add(out.dtype)

    hook = register_module_forward_hook(note)
    try:
        trained = train(replace(job, settings=settings), tracker)
    finally:
        hook.remove()
    assert trained.record.compute.dtype == "bfloat16"
    assert found == {torch.bfloat16}


def test_a_head_is_quantized_calibrated_and_evaluated_like_any_model(
    tmp_path: Path, tiny_model: Path, tiny_recipe: Recipe, tiny_splits: Stored[Splits]
) -> None:
    block = {"method": "head", "tune": "full", "max_steps": 50, "learning_rate": 0.001}
    job = job_of(tmp_path / "home", tiny_model, tiny_recipe, tiny_splits, **block)
    merged = merge(job, train(job, tracker))
    four = quantize(job, merged, job.recipe.quantize[0])
    found = predict_model(
        "bnb-nf4", four.path, four.digest, four.size_bytes, job.splits, job.recipe, CPU, 17, job.store
    )
    answers = read_predictions(found)
    right = sum(answer.answer == answer.label for answer in answers) / len(answers)
    assert right > 0.6
    assert all(sum(answer.probabilities) == pytest.approx(1) for answer in answers)
    loaded = load(four.path, CPU)
    layers = [type(m).__name__ for m in loaded.model.modules()]
    assert layers.count("Linear4bit") == 14
    assert loaded.model.config.pooling == "last"
    assert loaded.model.config.id2label == dict(enumerate(job.labels))


def test_kept_states_of_the_frozen_layers_change_nothing(
    tmp_path: Path, tiny_model: Path, tiny_recipe: Recipe, tiny_splits: Stored[Splits]
) -> None:
    """The same two layers: all of them trained from the first step, or the upper one on kept states."""
    from supply_chain.batches import Batches
    from supply_chain.encode import training_rows
    from supply_chain.label_loss import label_logits
    from supply_chain.trunk import states_of

    tuned = spec(**METHODS["full_top"])
    trainable = open_trainable(tiny_model, tuned, ["a", "b"], CPU, 1)
    whole = open_trainable(tiny_model, spec(method="full"), ["a", "b"], CPU, 1)
    from supply_chain.data.examples import read_split

    tokenizer = load(tiny_model, CPU).tokenizer
    renderer = Renderer.of(tiny_recipe.prompt, tiny_splits.record.labels, tokenizer)
    rows = training_rows(read_split(tiny_splits, "train")[:9], renderer, tokenizer, 64)
    states = states_of(trainable, rows, CPU, tmp_path)
    picked = [rows[i] for i in (3, 0, 8)]
    kept = label_logits(trainable, Batches(0, states)(picked))
    direct = label_logits(whole, Batches(0)(picked))
    assert torch.equal(kept[1], direct[1])
    torch.testing.assert_close(kept[0], direct[0], atol=1e-5, rtol=1e-4)
    learning = {n for n, p in trainable.model.named_parameters() if p.requires_grad}
    assert {n.split(".")[2] for n in learning if ".layers." in n} == {"1"}
    assert "model.embed_tokens.weight" not in learning


def test_more_top_layers_than_there_are_is_an_error(tiny_model: Path) -> None:
    with pytest.raises(InvalidInput, match="top_layers is 2, the base model has 2 layers"):
        open_trainable(tiny_model, spec(method="full", top_layers=2), ["a", "b"], CPU, 1)


@pytest.mark.parametrize(
    ("block", "message"),
    [
        (
            "method: lora, peft: {use_bdorra: true}",
            r"LoraConfig has no use_bdorra to set; did you mean use_",
        ),
        ("method: lora, peft: {r: 4}", "r is rank in a recipe"),
        ("method: lora, peft: {modules_to_save: [lm_head]}", "has no modules_to_save to set"),
        ("method: lora, init: pissa", "must be 'zeros', 'gaussian' or 'orthogonal', found 'pissa'"),
        ("method: head, tune: full, lora: {rank: 4}", "leaves lora without a meaning"),
        ("method: head, lora: {rnak: 4}", r"train.head.lora.rnak: unknown key; did you mean rank\?"),
        ("method: heads", "must be one of"),
    ],
)
def test_faults_of_a_method_are_named(tmp_path: Path, block: str, message: str) -> None:
    path = write_tiny_project(tmp_path)
    text = path.read_text()
    line = next(line for line in text.splitlines() if line.startswith("train:"))
    path.write_text(text.replace(line, f"train: {{{block}}}"))
    with pytest.raises(InvalidRecipe, match=message):
        load_recipe(path, Surroundings(tmp_path, ("tiny",)))
