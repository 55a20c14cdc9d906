"""A registered model loads by alias in a process that has nothing of ours but what MLflow stored."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from registry.lifecycle import Desk
from registry.release import incumbent, register
from supply_chain.calibration import Calibration
from supply_chain.data.examples import read_split
from supply_chain.errors import CorruptData, InvalidInput
from supply_chain.inference import load
from supply_chain.prompt import Renderer
from supply_chain.recipe import Recipe
from supply_chain.records import Compute, Splits
from supply_chain.scoring import label_likelihoods
from supply_chain.settings import Settings
from supply_chain.store import Store, Stored
from tests.registry.evidence import LABELS, evidence_for, store_artifact
from tests.registry.work import FLEET

SERVE = """
import json, sys
import mlflow, pandas as pd
mlflow.set_tracking_uri(sys.argv[1])
model = mlflow.pyfunc.load_model("models:/tiny_reviews@champion")
answers = model.predict(pd.DataFrame({"text": json.loads(sys.argv[2])}))
import registry.pyfunc, supply_chain
print(json.dumps({"answers": answers.to_dict("list"), "code": [registry.pyfunc.__file__, supply_chain.__file__]}))
"""


def serve(settings: Settings, texts: list[str], folder: Path) -> subprocess.CompletedProcess[str]:
    environment = {k: v for k, v in os.environ.items() if k != "PYTHONPATH"} | {"MLFLOW_DISABLE_TELEMETRY": "true"}
    command = [sys.executable, "-c", SERVE, settings.tracking_uri, json.dumps(texts)]
    return subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, check=False)


@pytest.fixture
def champion(
    tiny_recipe: Recipe, tiny_splits: Stored[Splits], tiny_model: Path, settings: Settings, store: Store
) -> Stored:
    artifact = store_artifact(tiny_recipe, store, model=tiny_model)
    assert incumbent(tiny_recipe.name, artifact.digest, settings) is None
    release = register(tiny_recipe, artifact, *evidence_for(tiny_recipe, artifact, store), None, settings, store)
    Desk(FLEET, settings, store).promote(release)
    return artifact


def test_served_by_alias_as_it_was_evaluated(
    champion: Stored, settings: Settings, tiny_splits: Stored[Splits], tiny_recipe: Recipe, tmp_path: Path
):
    from lm_eval.api.instance import Instance

    from evals.engine import TreeLM

    texts = [row.text for row in read_split(tiny_splits, "test")][:6]
    result = serve(settings, texts, tmp_path)
    assert result.returncode == 0, result.stderr
    found = json.loads(result.stdout.splitlines()[-1])
    assert all(str(settings.home) in file for file in found["code"])

    loaded = load(champion.path, Compute(device="cpu", dtype="bfloat16", attention="sdpa", threads=1))
    renderer = Renderer.of(tiny_recipe.prompt, LABELS, loaded.tokenizer)
    pairs = [(renderer.context(text), answer) for text in texts for answer in renderer.answers]
    scored = TreeLM(loaded).loglikelihood([Instance("loglikelihood", {}, pair, 0) for pair in pairs])
    values = [likelihood for likelihood, _ in scored]
    shares = Calibration().probabilities([values[i : i + 3] for i in range(0, len(values), 3)])
    assert found["answers"]["label"] == [LABELS[row.index(max(row))] for row in shares]
    assert found["answers"]["confidence"] == pytest.approx([max(row) for row in shares], abs=2e-3)


def test_damaged_weights_are_not_served(tiny_recipe: Recipe, tiny_model: Path, store: Store):
    from registry.pyfunc import _load_pyfunc

    artifact = store_artifact(tiny_recipe, store, model=tiny_model)
    weights = artifact.path / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:-1] + b"x")
    (artifact.path / "tokenizer.json").unlink()
    with pytest.raises(CorruptData, match=r"model\.safetensors, tokenizer\.json are missing or damaged"):
        _load_pyfunc(str(artifact.path))


def test_long_labels_share_passes_and_count_every_token(tiny_model: Path, tiny_recipe: Recipe):
    import torch

    loaded = load(tiny_model, Compute(device="cpu", dtype="float32", attention="eager", threads=1))
    renderer = Renderer.of(tiny_recipe.prompt, ["good, very", "good, not", "bad"], loaded.tokenizer)
    texts = ["the phone is great", "a much longer text about the lens of the camera and its strap"]
    found = label_likelihoods(loaded, renderer, texts)
    for text, row in zip(texts, found, strict=True):
        for answer, value in zip(renderer.answers, row, strict=True):
            context = loaded.tokenizer(renderer.context(text))["input_ids"]
            tokens = loaded.tokenizer(answer)["input_ids"]
            with torch.inference_mode():
                logs = loaded.model(torch.tensor([context + tokens])).logits[0].log_softmax(-1)
            expected = sum(float(logs[len(context) - 1 + k, token]) for k, token in enumerate(tokens))
            assert value == pytest.approx(expected, abs=1e-4)


def test_a_text_that_does_not_fit_is_named(tiny_model: Path, tiny_recipe: Recipe):
    loaded = load(tiny_model, Compute(device="cpu", dtype="float32", attention="eager", threads=1))
    renderer = Renderer.of(tiny_recipe.prompt, LABELS, loaded.tokenizer)
    with pytest.raises(InvalidInput, match=r"text 1 needs \d+ tokens, the model reads 512"):
        label_likelihoods(loaded, renderer, ["short", "x y " * 400])
