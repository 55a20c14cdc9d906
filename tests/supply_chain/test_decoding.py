"""Tokens are picked as the library picks them, and the same text is always written the same answer."""

from collections import Counter

import numpy as np
import pytest
import torch
from pydantic import ValidationError
from transformers import RepetitionPenaltyLogitsProcessor, TopPLogitsWarper

from supply_chain.decoding import Picker
from supply_chain.generation import write
from supply_chain.inference import Loaded
from supply_chain.recipe.decoding import DecodingGrid, Setting

SHARES = np.array([0.5, 0.3, 0.15, 0.05])
TEXTS = ["the phone is great", "camera", "a much longer text about the lens of the camera and its strap"]


def drawn(setting: Setting, times: int = 4000) -> Counter[int]:
    """First tokens after as many contexts, all with the same logits."""
    return Counter(Picker(setting, [context]).pick(np.log(SHARES)) for context in range(times))


def test_a_repeated_token_pays():
    picker = Picker(Setting(repetition_penalty=2), [0, 3, 0])
    logits = np.array([2.0, 1.5, 0.0, -1.0])
    assert [picker.pick(logits) for _ in range(2)] == [1, 0]  # 2 / 2 < 1.5; then 1.5 / 2 < 2 / 2
    assert logits.tolist() == [2.0, 1.5, 0.0, -1.0]
    assert Picker(Setting(), [0, 3]).pick(logits) == 0


def test_the_penalty_is_the_librarys():
    source = np.random.default_rng(5)
    logits, ids = source.normal(0, 4, 300), source.integers(0, 300, 40)
    theirs = RepetitionPenaltyLogitsProcessor(1.7)(torch.tensor(ids)[None], torch.tensor(logits)[None])[0]
    np.testing.assert_allclose(Picker(Setting(repetition_penalty=1.7), ids)._penalized(logits), theirs, rtol=1e-12)


@pytest.mark.parametrize(("top_p", "kept"), [(0.49, 1), (0.51, 2), (0.79, 2), (0.81, 3), (1.0, 4)])
def test_only_the_nucleus_is_drawn_from(top_p: float, kept: int):
    found = drawn(Setting(temperature=1, top_p=top_p))
    assert set(found) == set(range(kept))
    expected = SHARES[:kept] / SHARES[:kept].sum()
    np.testing.assert_allclose([found[i] / 4000 for i in range(kept)], expected, atol=0.03)
    theirs = TopPLogitsWarper(min(top_p, 0.9999999))(torch.tensor([[0]]), torch.tensor(np.log(SHARES))[None])[0]
    assert int(theirs.isfinite().sum()) == kept


def test_the_temperature_flattens():
    found, roots = drawn(Setting(temperature=2)), np.sqrt(SHARES)
    np.testing.assert_allclose([found[i] / 4000 for i in range(4)], roots / roots.sum(), atol=0.03)


def test_a_text_is_always_written_the_same_way(talkative: Loaded):
    setting = Setting(temperature=1.2, repetition_penalty=1.1)
    first, again = (write(talkative, TEXTS, 8, lambda _: False, setting=setting) for _ in range(2))
    assert first == again
    assert first != write(talkative, TEXTS, 8, lambda _: False)
    (alone,) = write(talkative, TEXTS[1:2], 8, lambda _: False, setting=setting)
    assert alone.text == first[1].text


def test_a_batch_pays_for_its_own_repetitions_and_tells_the_models_own_likelihood(talkative: Loaded):
    setting, penalty = Setting(repetition_penalty=1.6), RepetitionPenaltyLogitsProcessor(1.6)
    for text, written in zip(TEXTS, write(talkative, TEXTS, 8, lambda _: False, setting=setting), strict=True):
        ids, total = list(talkative.tokenizer(text)["input_ids"]), 0.0
        start = len(ids)
        for _ in range(8):
            with torch.inference_mode():
                logits = talkative.model(torch.tensor([ids])).logits[0, -1].float()
            best = int(penalty(torch.tensor([ids]), logits[None].clone())[0].argmax())
            if best == talkative.tokenizer.eos_token_id:
                break
            total += float(logits.log_softmax(-1)[best])
            ids.append(best)
        assert written.text == talkative.tokenizer.decode(ids[start:], skip_special_tokens=True)
        assert written.likelihood == pytest.approx(total, abs=1e-3)


def test_the_grid_holds_each_setting_once():
    grid = DecodingGrid(temperature=[0, 0.7], top_p=[1, 0.9], repetition_penalty=[1, 1.2])
    assert [(s.temperature, s.top_p, s.repetition_penalty) for s in grid.settings] == [
        (0, 1, 1), (0, 1, 1.2), (0.7, 1, 1), (0.7, 1, 1.2), (0.7, 0.9, 1), (0.7, 0.9, 1.2),
    ]  # fmt: skip
    assert [s.max_new_tokens for s in DecodingGrid(max_new_tokens=[8, 16]).settings] == [8, 16]
    assert DecodingGrid().settings == [Setting()] and Setting().greedy and not Setting(repetition_penalty=1.1).greedy
    with pytest.raises(ValidationError, match="30 combinations; each writes every row once more: at most 24"):
        DecodingGrid(temperature=[0.1, 0.2, 0.3, 0.4, 0.5], top_p=[0.9, 1], repetition_penalty=[1, 1.1, 1.2])
