from pathlib import Path

import numpy as np
import pytest
import torch
from lm_eval.api.instance import Instance
from tokenizers.processors import TemplateProcessing
from transformers import AutoModelForCausalLM, AutoTokenizer, BitsAndBytesConfig

from evals.answering import predict_model
from evals.engine import TreeLM
from evals.harness import check_tokens, decide
from evals.predictions import read_predictions, sampled_test
from supply_chain.calibration import Calibration
from supply_chain.data.examples import read_split
from supply_chain.errors import CorruptData, InvalidInput
from supply_chain.inference import Loaded, load
from supply_chain.prompt import Renderer
from supply_chain.recipe import Recipe
from supply_chain.recipe.prompt import ChatPrompt, PlainPrompt
from supply_chain.records import Compute, Predictions, Splits
from supply_chain.scoring import LabelScorer, label_likelihoods
from supply_chain.store import Store, Stored

CHAT = ChatPrompt(kind="chat", instruction="Label.", answers={"negative": "n", "neutral": "0", "positive": "p"})


@pytest.fixture
def loaded(tiny_model: Path, compute: Compute) -> Loaded:
    return load(tiny_model, compute)


@pytest.fixture
def predicted(tiny_model, tiny_splits, tiny_recipe, compute, store) -> Stored[Predictions]:
    return predict_model("base", tiny_model, "d" * 64, 1234, tiny_splits, tiny_recipe, compute, 17, store)


PLAIN = Calibration()
shares = PLAIN.probabilities


def by_hand(loaded: Loaded, renderer: Renderer, text: str) -> list[float]:
    """Each label's log-likelihood from a forward pass of its own."""
    found = []
    context = loaded.tokenizer.encode(renderer.context(text))
    for answer in renderer.answers:
        tokens = loaded.tokenizer.encode(answer)
        with torch.no_grad():
            logits = loaded.model(input_ids=torch.tensor([context + tokens])).logits[0]
        logs = torch.log_softmax(logits.float(), dim=-1)
        found.append(sum(float(logs[len(context) + i - 1, token]) for i, token in enumerate(tokens)))
    return found


def test_answers_are_the_likeliest_labels(predicted, loaded, tiny_splits: Stored[Splits], tiny_recipe: Recipe):
    rows = read_split(tiny_splits, "test")
    renderer = Renderer.of(tiny_recipe.prompt, tiny_splits.record.labels, loaded.tokenizer)
    found = read_predictions(predicted)
    assert [p.id for p in found] == [row.id for row in rows]
    for prediction, row in zip(found, rows, strict=True):
        expected = shares([by_hand(loaded, renderer, row.text)])[0]
        assert prediction.probabilities == pytest.approx(expected, abs=1e-5)
        assert prediction.answer == renderer.labels[int(np.argmax(expected))]
        assert prediction.confidence == max(prediction.probabilities)
        assert (prediction.label, prediction.group) == (row.label, row.group)


def test_the_record_says_what_was_measured(predicted: Stored[Predictions], tiny_splits: Stored[Splits]):
    record = predicted.record
    assert (record.contestant, record.model_digest, record.size_bytes) == ("base", "d" * 64, 1234)
    assert (record.splits_digest, record.rows) == (tiny_splits.digest, 24)
    assert 0 < record.p50_ms <= record.p95_ms
    assert record.peak_memory_bytes > 50_000_000 and record.load_seconds > 0 and record.decisions_per_second > 0
    assert set(predicted.files) == {"predictions.parquet"}


def test_made_once_and_anew_for_other_weights(
    predicted, tiny_model, tiny_splits, tiny_recipe, compute: Compute, store: Store
):
    args = (tiny_splits, tiny_recipe, compute.model_copy(update={"attention": "sdpa"}), 17, store)
    assert predict_model("base", tiny_model, "d" * 64, 1234, *args).key == predicted.key
    assert predict_model("base", tiny_model, "e" * 64, 1234, *args).key != predicted.key
    assert predict_model("champion", tiny_model, "d" * 64, 1234, *args).record.contestant == "champion"


def count_rows(loaded: Loaded) -> list[int]:
    seen: list[int] = []
    loaded.model.get_decoder().register_forward_pre_hook(
        lambda _m, _args, kwargs: seen.append(len(kwargs["input_ids"])), with_kwargs=True
    )
    return seen


@pytest.mark.parametrize(
    "prompt", [PlainPrompt(answers={"neutral": "usual standard"}), CHAT], ids=["a label of two tokens", "chat"]
)
def test_one_decision_is_one_forward_pass(loaded, prompt):
    renderer = Renderer.of(prompt, ["negative", "neutral", "positive"], loaded.tokenizer)
    expected = renderer.labels[int(np.argmax(by_hand(loaded, renderer, "the phone is great")))]
    server, seen = LabelScorer(loaded, renderer), count_rows(loaded)
    assert decide(server, PLAIN, ["the phone is great"]) == [expected]
    assert seen == [1]


def test_a_label_that_merges_with_the_prompt_is_refused(loaded, tiny_splits: Stored[Splits]):
    rows, scorer = read_split(tiny_splits, "test"), TreeLM(loaded)
    answers = {"neutral": "x", "negative": "tive"}
    prompt = ChatPrompt(kind="chat", instruction="", answers=answers)
    assert check_tokens(Renderer(prompt, ("neutral",), lambda _: "Label: nega"), rows, scorer) == len(
        loaded.tokenizer.encode("Label: negax")
    )
    with pytest.raises(InvalidInput, match=r"label 'negative' \('tive'\) merge with .*'Label: nega'"):
        check_tokens(Renderer(prompt, tuple(answers), lambda _: "Label: nega"), rows, scorer)


def test_rows_that_do_not_fit_the_context_are_named(loaded, tiny_splits: Stored[Splits]):
    rows = read_split(tiny_splits, "test")
    long = rows[3].model_copy(update={"text": "word " * 600})
    renderer = Renderer(PlainPrompt(), tuple(tiny_splits.record.labels))
    with pytest.raises(InvalidInput, match=rf"1 test rows .* context of 512: row {long.id} \("):
        check_tokens(renderer, [*rows[:3], long], TreeLM(loaded))


def test_a_folder_without_a_model_is_refused(tmp_path, tiny_splits, tiny_recipe, compute, store):
    (tmp_path / "empty").mkdir()
    with pytest.raises(CorruptData, match="no model that can be loaded"):
        predict_model("base", tmp_path / "empty", "d" * 64, 0, tiny_splits, tiny_recipe, compute, 17, store)
    assert list(store.all(Predictions)) == []


def test_max_rows_takes_the_same_sample_for_everyone(tiny_splits: Stored[Splits], tiny_recipe: Recipe):
    spec = tiny_recipe.evaluate.model_copy(update={"max_rows": 20})
    once, again = sampled_test(tiny_splits, spec, 17), sampled_test(tiny_splits, spec, 17)
    assert [r.id for r in once] == [r.id for r in again] and len(once) == 20
    assert sampled_test(tiny_splits, spec, 18) != once


def test_broken_weights_give_an_error_and_no_zero(tiny_model: Path, tmp_path, tiny_splits, tiny_recipe, compute, store):
    broken = load(tiny_model, compute)
    with torch.no_grad():
        broken.model.model.norm.weight.fill_(float("nan"))
    broken.model.save_pretrained(tmp_path / "broken")
    broken.tokenizer.save_pretrained(tmp_path / "broken")
    with pytest.raises(InvalidInput, match=r"row \d+: no answer"):
        predict_model("base", tmp_path / "broken", "f" * 64, 1, tiny_splits, tiny_recipe, compute, 17, store)


def test_stored_4_bit_weights_answer_twice_the_same(tiny_model, tmp_path, tiny_splits, tiny_recipe, compute, store):
    quantization = BitsAndBytesConfig(load_in_4bit=True, bnb_4bit_quant_type="nf4", bnb_4bit_compute_dtype="float32")
    model = AutoModelForCausalLM.from_pretrained(tiny_model, quantization_config=quantization, device_map={"": "cpu"})
    model.save_pretrained(tmp_path / "nf4")
    AutoTokenizer.from_pretrained(tiny_model).save_pretrained(tmp_path / "nf4")
    path, args = tmp_path / "nf4", (tiny_splits, tiny_recipe, compute, 17)
    once = predict_model("bnb-nf4", path, "4" * 64, 1, *args, store)
    again = predict_model("bnb-nf4", path, "4" * 64, 1, *args, Store(tmp_path / "again"))
    assert once.digest == again.digest
    full = predict_model("base", tiny_model, "d" * 64, 1, *args, store)
    assert once.digest != full.digest
    pairs = zip(read_predictions(once), read_predictions(full), strict=True)
    assert max(abs(a.confidence - b.confidence) for a, b in pairs) < 0.05


@pytest.mark.parametrize("prompt", [PlainPrompt(answers={"neutral": "usual standard"}), CHAT], ids=["plain", "chat"])
def test_evaluation_scores_as_serving_does_whatever_the_tokenizer_would_add(loaded, prompt):
    bos = loaded.tokenizer.bos_token
    loaded.tokenizer.backend_tokenizer.post_processor = TemplateProcessing(
        single=f"{bos} $A", special_tokens=[(bos, loaded.tokenizer.bos_token_id)]
    )
    assert loaded.tokenizer.encode("x")[0] == loaded.tokenizer.bos_token_id
    renderer = Renderer.of(prompt, ["negative", "neutral", "positive"], loaded.tokenizer)
    context, scorer = renderer.context("the phone is great"), TreeLM(loaded)
    requests = [Instance("loglikelihood", {}, (context, answer), i) for i, answer in enumerate(renderer.answers)]
    found = [likelihood for likelihood, _ in scorer.loglikelihood(requests)]
    served = label_likelihoods(loaded, renderer, ["the phone is great"])
    assert shares([found])[0] == pytest.approx(shares(served)[0], abs=1e-5)
