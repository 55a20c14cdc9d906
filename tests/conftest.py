"""Fixtures that every room's tests may use: a tiny real model and a tiny real project.

`tests` and its folders are packages (`__init__.py`), so that test files may share a name.
"""

import csv
import os
import random
import sys
from pathlib import Path
from typing import Any

import absl.logging
import pytest

os.environ.setdefault("HF_HUB_OFFLINE", "1")
os.environ.setdefault("OMP_NUM_THREADS", "1")

from supply_chain.data.curate import curate
from supply_chain.data.source import locate
from supply_chain.data.split import split
from supply_chain.recipe import Recipe, load_recipe
from supply_chain.recipe.part import Surroundings
from supply_chain.records import Compute, Splits
from supply_chain.store import Store, Stored

# absl (below rouge_score) closes the stream that it found when Dagster sets logging up: here, pytest's own
absl.logging.get_absl_handler().python_handler.setStream(sys.__stderr__)

WORDS = {
    "negative": ["broken", "awful", "poor", "useless", "returned", "failed", "noisy", "cheap"],
    "neutral": ["average", "plain", "usual", "standard", "ordinary", "expected", "regular", "normal"],
    "positive": ["great", "lovely", "superb", "excellent", "wonderful", "sturdy", "bright", "perfect"],
}
NOUNS = [
    "phone",
    "camera",
    "battery",
    "screen",
    "lens",
    "cable",
    "case",
    "speaker",
    "player",
    "button",
    "menu",
    "strap",
]
RECIPE = """\
name: tiny_reviews
description: Tells whether a made-up review is positive, neutral or negative.
owner: team:tests
data:
  source: {kind: path, path: data/tiny_reviews.csv}
  format: {kind: csv}
  group: {column: review}
  license: CC0-1.0
  attribution: Made up for the tests.
base: tiny
train: {method: lora, rank: 2, alpha: 4, max_steps: 2, batch_size: 4, max_tokens: 64}
evaluate:
  resamples: 200
  latency_rows: 10
  kpis:
    volume_per_month: 1000
    mistake_usd: 0.02
    mistakes: {negative->positive: 0.25}
promote: {minimum: 0.5}
route: {task: tiny-reviews, keywords: [review]}
"""
CHAT = (
    "{% for m in messages %}<|im_start|>{{ m['role'] }}\n{{ m['content'] }}<|im_end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """A test file is run by one worker; so is everything that looks at the chain that `made_once` runs."""
    for item in items:
        chain = item.path.parent.name == "assets" and "made_once" in getattr(item, "fixturenames", [])
        item.add_marker(pytest.mark.xdist_group("chain" if chain else item.nodeid.partition("::")[0]))


def write_tiny_project(root: Path) -> Path:
    """Writes a recipe and its 120 rows (40 reviews of 3 sentences) below `root`; returns the recipe's path."""
    rng = random.Random(7)
    rows = []
    for index in range(120):
        label = list(WORDS)[index % 3]
        first, second = rng.sample(WORDS[label], 2)
        text = f"the {rng.choice(NOUNS)} of order {index} is {first} and the {rng.choice(NOUNS)} is {second}"
        rows.append({"text": text, "label": label, "review": f"r{index // 3}"})
    (root / "data").mkdir(parents=True)
    with (root / "data/tiny_reviews.csv").open("w", newline="") as file:
        writer = csv.DictWriter(file, ["text", "label", "review"])
        writer.writeheader()
        writer.writerows(rows)
    path = root / "recipes/tiny_reviews.yaml"
    path.parent.mkdir()
    path.write_text(RECIPE)
    return path


@pytest.fixture
def store(tmp_path: Path) -> Store:
    """An empty local store."""
    return Store(tmp_path / "home" / "store")


@pytest.fixture
def tiny_recipe(tmp_path: Path) -> Recipe:
    """A loaded recipe; its project (recipe and CSV) lies in `tmp_path / "project"`."""
    path = write_tiny_project(tmp_path / "project")
    return load_recipe(path, Surroundings(root=tmp_path / "project", bases=("tiny",)))


@pytest.fixture
def tiny_splits(tiny_recipe: Recipe, tmp_path: Path, store: Store) -> Stored[Splits]:
    """`tiny_recipe`'s rows, curated and split in `store`: 3 labels, whole reviews on one side."""
    source = locate(tiny_recipe.data.source, tmp_path / "downloads", root=tmp_path / "project")
    return split(curate(tiny_recipe.data, source, store), tiny_recipe.data.split, 17, store)


@pytest.fixture(scope="session")
def compute() -> Compute:
    """One thread on the CPU."""
    return Compute(device="cpu", dtype="float32", attention="eager", threads=1)


@pytest.fixture(scope="session")
def tiny_model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with an untrained two-layer Llama and its tokenizer, as `save_pretrained` writes them.

    Hidden size 64, tied embeddings, byte-level BPE of 512 tokens with bos, eos (also pad) and a
    chat template. Each label of `tiny_recipe` is one token after a space.
    """
    return write_tiny_model(tmp_path_factory.mktemp("model") / "tiny")


def write_tiny_model(path: Path) -> Path:
    """Writes the model of the fixture `tiny_model` to a new folder, which it returns."""
    import torch
    from transformers import LlamaConfig, LlamaForCausalLM

    tokenizer = _tiny_tokenizer()
    torch.manual_seed(17)
    config = LlamaConfig(
        vocab_size=len(tokenizer),
        hidden_size=64,
        intermediate_size=128,
        num_hidden_layers=2,
        num_attention_heads=4,
        num_key_value_heads=2,
        max_position_embeddings=512,
        tie_word_embeddings=True,
        bos_token_id=tokenizer.bos_token_id,
        eos_token_id=tokenizer.eos_token_id,
        pad_token_id=tokenizer.pad_token_id,
    )
    LlamaForCausalLM(config).to(torch.bfloat16).save_pretrained(path)
    tokenizer.save_pretrained(path)
    return path


@pytest.fixture(scope="session")
def talkative(tiny_model: Path, compute: Compute) -> Any:
    """`tiny_model`, loaded, with large weights: as it was initialized, the model repeats one token."""
    import torch

    from supply_chain.inference import load

    found, source = load(tiny_model, compute), torch.Generator().manual_seed(5)
    with torch.no_grad():
        for tensor in (*found.model.model.parameters(), found.model.get_output_embeddings().matrix):
            if tensor.dim() > 1:
                tensor.copy_(torch.randn(tensor.shape, generator=source) / 4)
    return found


def _tiny_tokenizer() -> Any:
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
    from transformers import PreTrainedTokenizerFast

    bpe = Tokenizer(models.BPE())
    bpe.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    bpe.decoder = decoders.ByteLevel()
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    trainer = trainers.BpeTrainer(
        vocab_size=512, special_tokens=["<|im_start|>", "<|im_end|>"], initial_alphabet=alphabet, show_progress=False
    )
    bpe.train_from_iterator([f"Label: {label}" for label in WORDS] * 50 + NOUNS * 5, trainer)
    return PreTrainedTokenizerFast(
        tokenizer_object=bpe,
        bos_token="<|im_start|>",
        eos_token="<|im_end|>",
        pad_token="<|im_end|>",
        chat_template=CHAT,
        model_max_length=512,
    )
