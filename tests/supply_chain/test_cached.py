"""What ONNX, MLX and ExecuTorch artifacts compute is what their weights say, their cache is reused rightly, and they
pass for the trained model alone."""

import json
import shutil
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from supply_chain.answer import Answerer
from supply_chain.artifacts import merge
from supply_chain.formats import executorch, mlx, onnx
from supply_chain.generation import write
from supply_chain.inference import load
from supply_chain.loaded import Loaded
from supply_chain.opening import open_artifact
from supply_chain.parity import Line, findings
from supply_chain.prompt import Renderer
from supply_chain.recipe.prompt import PlainPrompt
from supply_chain.recipe.quantize import Executorch, Mlx, Onnx
from supply_chain.records import Compute
from supply_chain.scoring import LabelScorer
from tests.supply_chain.faults import answers_here_and_away, scaled_adapter, tiny_lines

TEXTS = ["the phone is great, 12345 times", "awful «ünïcode» 日本 🙂 <|im_end|> x", "a b  c\n\n d"]
LABELS = ["negative", "neutral", "positive"]
ANSWERS = {"negative": "negative phone", "neutral": "neutral screen", "positive": "positive"}
SCHEMES: dict[str, Any] = {
    "onnx": Onnx(scheme="onnx"),
    "mlx": Mlx(scheme="mlx", group_size=32),
    "executorch": Executorch(scheme="executorch"),
}
MODULES: dict[str, Any] = {"onnx": onnx, "mlx": mlx, "executorch": executorch}
HEADS = {"onnx": "lm_head.weight", "mlx": "model.embed_tokens.weight"}
"""What each calls the matrix that is both embeddings and output layer; ExecuTorch's are 8-bit, close to the model's."""
LIBRARIES = {"onnx": "onnxruntime_genai", "mlx": "mlx_lm", "executorch": "executorch"}
RUNTIMES = {"onnx": "onnxruntime ", "mlx": "mlx-lm ", "executorch": "executorch "}
SLOW = pytest.param("executorch", marks=pytest.mark.slow)  # two minutes of lowering


@pytest.fixture(scope="module", params=["onnx", "mlx", SLOW])
def line(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory, tiny_model: Path) -> Line:
    pytest.importorskip(LIBRARIES[request.param], reason=f"needs '.[{request.param}]'")
    schemes = {request.param: SCHEMES[request.param]}
    return tiny_lines(tmp_path_factory.mktemp("lines"), tiny_model, schemes=schemes)[0]


@pytest.fixture(scope="module")
def folder(line: Line) -> Path:
    return line.artifact.path


def opened(folder: Path) -> Loaded:
    return open_artifact(folder, Compute(device="cpu", dtype="native", attention="native", threads=1))


def as_torch(line: Line, compute: Compute) -> Loaded:
    """The model in torch with the weights that the artifact holds."""
    folder, found = line.artifact.path, load(line.merged.path, compute)
    names = [name for name, _ in found.model.named_parameters() if name.endswith("_proj.weight")]
    heads = [HEADS[line.scheme.name]] if line.scheme.name in HEADS else []
    stored = dict(MODULES[line.scheme.name].read_matrices(folder, [*names, *heads]))
    for head in heads:
        stored["model.embed_tokens.weight"] = stored.pop(head)
        found.model.get_output_embeddings().matrix.copy_(stored["model.embed_tokens.weight"])
    for name, weight in stored.items():
        found.model.get_parameter(name).data = weight
    return found


def test_it_computes_what_its_weights_say(line: Line, folder: Path, compute: Compute) -> None:
    own, same, full = opened(folder), as_torch(line, compute), load(line.merged.path, compute)
    found = []
    for loaded in (own, same, full):
        renderer = Renderer.of(PlainPrompt(answers=ANSWERS), LABELS, loaded.tokenizer)
        found.append([x for row in LabelScorer(loaded, renderer).likelihoods(TEXTS) for x in row])
    assert found[0] == pytest.approx(found[1], abs=0.05)  # ONNX and ExecuTorch round activations
    assert found[0] == pytest.approx(found[2], abs=0.5) and found[0] != pytest.approx(found[2], abs=1e-4)


def test_the_cache_of_an_earlier_context_changes_nothing(folder: Path) -> None:
    contexts = [[5, 9, 70, 33, 8], [5, 9, 70, 33, 8], [5, 9, 12], [5, 9, 70, 33, 8, 61, 7], [4]]
    answers = [[40, 41, 42], [40, 41], [40], [50, 41, 42]]
    model = opened(folder).model
    for context in contexts:
        cold = opened(folder).model.branch(context, answers)
        assert model.branch(context, answers) == pytest.approx(cold, abs=1e-4)


def written_by(loaded: Loaded, ids: list[int]) -> tuple[list[float], list[int]]:
    tokens: list[int] = []

    def told(written: list[int]) -> bool:
        tokens[:] = written
        return False

    return loaded.model.write(ids, 5, loaded.tokenizer.eos_token_id, told, lambda scores: int(scores.argmax())), tokens


def test_what_it_writes_is_as_likely_as_it_says(folder: Path) -> None:
    loaded = opened(folder)
    for text, written in zip(TEXTS, write(loaded, TEXTS, 5, lambda text: False), strict=True):
        ids = loaded.tokenizer(text, add_special_tokens=False)["input_ids"]
        likelihoods, tokens = written_by(loaded, ids)
        assert loaded.model.branch(ids, [tokens]) == pytest.approx([sum(likelihoods)], abs=0.02)
        assert (written.text, written.likelihood) == (loaded.tokenizer.decode(tokens), pytest.approx(sum(likelihoods)))


def test_a_clean_build_passes_and_half_of_the_training_does_not(line: Line) -> None:
    assert [f.sentence for f in findings(line) if not f.passed] == []
    assert line.artifact.record.runtime.startswith(RUNTIMES[line.scheme.name])
    trained = scaled_adapter(line, 2.0)
    more = replace(line, trained=trained, merged=merge(line.job, trained))
    found = {f.name: f for f in findings(more)}
    assert not found["fine-tune"].passed and found["fine-tune"].measured == pytest.approx(0.5, abs=0.1)


def test_copied_files_answer_as_before_when_the_store_is_gone(line: Line, tmp_path: Path) -> None:
    before, after = answers_here_and_away(line, tmp_path)
    assert after == before


def test_copied_files_answer_alone_as_before(line: Line, tmp_path: Path) -> None:
    texts = [row.text for row in line.rows[:5]]
    own: Any = Answerer(line.artifact.path)
    before = [json.dumps(own.answer([text])[0].__dict__) for text in texts]
    shutil.copytree(line.artifact.path, tmp_path / "elsewhere")
    command = [sys.executable, "-m", "supply_chain.answer", str(tmp_path / "elsewhere")]
    told = subprocess.run(command, input="\n".join(texts), capture_output=True, text=True, check=True)
    assert told.stdout.splitlines() == before
