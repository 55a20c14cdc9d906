"""Every format is the model that was trained, answers the same, and nothing else passes."""

import json
import shutil
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from supply_chain.answer import Answerer
from supply_chain.errors import SupplyChainError
from supply_chain.formats.calibration import calibration_rows
from supply_chain.generation import write
from supply_chain.inference import load
from supply_chain.llama_cpp import open_gguf
from supply_chain.parity import Line, check_parity, findings
from supply_chain.prompt import Renderer
from supply_chain.recipe.prompt import ChatPrompt, PlainPrompt
from supply_chain.recipe.quantize import Adapter, Gguf
from supply_chain.records import Compute
from supply_chain.scoring import LabelScorer
from supply_chain.unmerged import unmerged
from tests.supply_chain.faults import FAULTS, SCHEMES, answers_here_and_away, tiny_lines

pytest.importorskip("cyllama", reason="needs '.[gguf]'")
TEXTS = ["the phone is great, 12345 times", "awful «ünïcode» 日本 🙂 <|im_end|> x", "a b  c\n\n d"]
LABELS = ["negative", "neutral", "positive"]


@pytest.fixture(scope="module")
def lines(tmp_path_factory: pytest.TempPathFactory, tiny_model: Path) -> dict[str, Line]:
    made = {line.scheme.name: line for line in tiny_lines(tmp_path_factory.mktemp("lines"), tiny_model)}
    line = made["bnb-nf4"]
    adapter = unmerged(line.job, line.trained, line.merged)
    return {**made, "adapter": replace(line, artifact=adapter, scheme=Adapter(scheme="adapter"))}


@pytest.mark.parametrize("scheme", [*SCHEMES, "adapter"])
def test_a_clean_build_passes_every_check(lines: dict[str, Line], scheme: str) -> None:
    found = list(findings(lines[scheme]))
    assert [f.name for f in found] == [
        "merge", "source", "chat template", "stop token", "serving", "token ids", "fine-tune", "log-probabilities",
    ]  # fmt: skip
    assert [f.sentence for f in found if not f.passed] == []
    parity = check_parity(lines[scheme], lines[scheme].job.store)
    assert parity.record.artifact_digest == lines[scheme].artifact.digest


@pytest.mark.parametrize("scheme", SCHEMES)
@pytest.mark.parametrize("name", FAULTS)
def test_a_fault_is_refused_and_its_hop_named(lines: dict[str, Line], name: str, scheme: str) -> None:
    break_it, hop = FAULTS[name]
    broken = break_it(lines[scheme])
    with pytest.raises(SupplyChainError, match=hop + (scheme if hop.startswith("merged") else "")):
        check_parity(broken, broken.job.store)


def test_calibration_covers_labels_and_lengths(lines: dict[str, Line]) -> None:
    line = lines["bnb-nf4"]
    rows = [row.model_copy(update={"text": "x" * (i + 1)}) for i, row in enumerate(sorted(line.rows, key=str))]
    chosen = calibration_rows(line.job, rows, 12)
    assert sorted(row.label for row in chosen) == sorted(LABELS * 4)
    assert chosen == calibration_rows(line.job, list(reversed(rows)), 12)
    for label in LABELS:
        lengths = sorted(len(row.text) for row in rows if row.label == label)
        quarters = {sum(len(row.text) > q for q in (lengths[len(lengths) * k // 4 - 1] for k in (1, 2, 3)))
                    for row in chosen if row.label == label}  # fmt: skip
        assert quarters == {0, 1, 2, 3}
    assert len(line.artifact.record.calibration) == 16


@pytest.mark.parametrize("kind", ["f16", "q8_0", "q4_0", "q4_k_m"])
def test_llama_cpp_gives_the_same_tokens_and_likelihoods(tmp_path: Path, tiny_model: Path, kind: str) -> None:
    from supply_chain.formats.gguf import write_gguf

    write_gguf(tiny_model, tmp_path, Gguf.model_validate({"scheme": "gguf", "type": kind}))
    full = load(tiny_model, Compute(device="cpu", dtype="float32", attention="eager", threads=1))
    own = open_gguf(tmp_path, 1)
    answers = {"negative": "negative phone", "neutral": "negative screen"}  # a shared start
    for prompt in (PlainPrompt(answers=answers), ChatPrompt(kind="chat", instruction="Say it.", answers=answers)):
        there, here = (Renderer.of(prompt, LABELS, loaded.tokenizer) for loaded in (own, full))
        for text in TEXTS:
            assert there.context(text) == here.context(text)
            assert own.tokenizer.encode(there.context(text)) == full.tokenizer.encode(
                here.context(text), add_special_tokens=False
            )
        pairs = zip(LabelScorer(own, there).likelihoods(TEXTS), LabelScorer(full, here).likelihoods(TEXTS), strict=True)
        gap = max(abs(a - b) for one, other in pairs for a, b in zip(one, other, strict=True))
        assert gap < {"f16": 0.002, "q8_0": 0.02}.get(kind, 0.2)


def test_llama_cpp_writes_what_the_model_writes(tmp_path: Path, tiny_model: Path) -> None:
    from supply_chain.formats.gguf import write_gguf

    write_gguf(tiny_model, tmp_path, Gguf(scheme="gguf", type="f16"))
    full = load(tiny_model, Compute(device="cpu", dtype="float32", attention="eager", threads=1))
    there, here = (write(loaded, TEXTS, 5, lambda text: False) for loaded in (open_gguf(tmp_path, 1), full))
    assert [(w.text, w.tokens) for w in there] == [(w.text, w.tokens) for w in here]
    assert [w.likelihood for w in there] == pytest.approx([w.likelihood for w in here], abs=0.01)


@pytest.mark.parametrize("scheme", [*SCHEMES, "adapter", "merged"])
def test_copied_files_answer_as_before_when_the_store_is_gone(
    lines: dict[str, Line], tmp_path: Path, scheme: str
) -> None:
    line = lines["bnb-nf4"] if scheme == "merged" else lines[scheme]
    line = replace(line, artifact=line.merged) if scheme == "merged" else line
    before, after = answers_here_and_away(line, tmp_path, [line.job.base.path] if scheme == "adapter" else [])
    assert after == before


def test_the_command_answers_line_by_line_and_refuses_damaged_files(lines: dict[str, Line], tmp_path: Path) -> None:
    line = lines["gguf-q4_k_m"]
    texts = [row.text for row in line.rows[:5]]
    before = [json.dumps(answer.__dict__) for answer in Answerer(line.artifact.path).answer(texts)]
    shutil.copytree(line.artifact.path, tmp_path / "elsewhere")
    command = [sys.executable, "-m", "supply_chain.answer", str(tmp_path / "elsewhere")]
    told = subprocess.run(command, input="\n".join(texts), capture_output=True, text=True, check=True)
    assert told.stdout.splitlines() == before
    (tmp_path / "elsewhere/model.gguf").write_bytes(b"GGUF")
    refused = subprocess.run(command, input="a", capture_output=True, text=True, check=False)
    assert (refused.returncode, refused.stdout) == (2, "")
    assert "model.gguf are missing or damaged" in refused.stderr
