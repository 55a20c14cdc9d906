"""Greedy writing: equal to the library's own, whatever stands in the same batch."""

import copy

import pytest
import torch

from supply_chain.errors import InvalidInput
from supply_chain.generation import write
from supply_chain.inference import Loaded

CONTEXTS = ["the phone is great", "camera", "a much longer text about the lens of the camera and its strap"]


@pytest.fixture(scope="module")
def loaded(talkative: Loaded) -> Loaded:
    return talkative


def never(_text: str) -> bool:
    return False


def one_by_one(loaded: Loaded, context: str, tokens: int) -> tuple[list[int], float]:
    """Greedy tokens and their log-likelihood, without a cache."""
    ids, total = list(loaded.tokenizer(context)["input_ids"]), 0.0
    start = len(ids)
    for _ in range(tokens):
        with torch.inference_mode():
            logs = loaded.model(torch.tensor([ids])).logits[0, -1].float().log_softmax(-1)
        best = int(logs.argmax())
        if best == loaded.tokenizer.eos_token_id:
            break
        total += float(logs[best])
        ids.append(best)
    return ids[start:], total


@pytest.mark.parametrize("batch", [1, 2, 3])
def test_batches_with_a_cache_write_what_single_rows_without_one_do(loaded: Loaded, batch: int):
    found = write(loaded, CONTEXTS, 12, never, batch)
    for context, written in zip(CONTEXTS, found, strict=True):
        tokens, likelihood = one_by_one(loaded, context, 12)
        assert (written.text, written.tokens) == (loaded.tokenizer.decode(tokens), len(tokens))
        assert written.likelihood == pytest.approx(likelihood, abs=1e-4)


def test_a_row_that_is_complete_leaves_and_the_others_go_on(loaded: Loaded):
    whole = write(loaded, CONTEXTS, 12, never)
    first = loaded.tokenizer.decode(one_by_one(loaded, CONTEXTS[1], 4)[0])
    passes: list[int] = []
    hook = loaded.model.register_forward_pre_hook(
        lambda _m, _a, kwargs: passes.append(len(kwargs["input_ids"])), with_kwargs=True
    )
    found = write(loaded, CONTEXTS, 12, lambda text: text == first)
    hook.remove()
    assert (found[1].text, found[1].tokens) == (first, 4)
    assert [(found[i].text, found[i].tokens) for i in (0, 2)] == [(whole[i].text, 12) for i in (0, 2)]
    assert passes == [3] * 4 + [2] * 8


def test_the_end_token_ends_a_row_and_is_not_written(loaded: Loaded):
    tokens, _ = one_by_one(loaded, "camera", 6)
    assert len(set(tokens)) > 1
    tokenizer = copy.deepcopy(loaded.tokenizer)
    tokenizer.eos_token = tokenizer.convert_ids_to_tokens(tokens[2])
    (found,) = write(Loaded(loaded.model, tokenizer, 0.0), ["camera"], 6, never)
    stop = tokens.index(tokens[2])
    assert found.tokens == stop and found.text == loaded.tokenizer.decode(tokens[:stop])


def test_a_context_without_room_for_the_answer_is_named(loaded: Loaded):
    with pytest.raises(InvalidInput, match=r"1 texts leave no room for 500 tokens .* context of 512: 1 \(\d+\)"):
        write(loaded, ["x", "word " * 40], 500, never)
