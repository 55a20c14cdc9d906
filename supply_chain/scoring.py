"""Likelihoods of labels, as a served model decides: the same sums that evaluation takes."""

from collections.abc import Sequence
from itertools import islice
from typing import Any

import torch

from supply_chain.errors import InvalidInput
from supply_chain.inference import Loaded, has_head, pooled
from supply_chain.prompt import Renderer

_BATCH = 16


def label_likelihoods(loaded: Loaded, renderer: Renderer, texts: Sequence[str]) -> list[list[float]]:
    """Log-likelihood of every label after every text's context: [texts, labels].

    A head gives them all in one pass. Otherwise they are those of the label's answer, and answers that
    share all tokens but the last share a forward pass. Raises InvalidInput for a text that does not fit
    the model's context.
    """
    tokenizer = loaded.tokenizer
    contexts = [_ids(tokenizer, renderer.context(text)) for text in texts]
    if has_head(loaded.model):
        return _of_head(loaded, contexts)
    answers = [_ids(tokenizer, answer) for answer in renderer.answers]
    limit, longest = int(loaded.model.config.max_position_embeddings), max(map(len, answers))
    _check_lengths(contexts, longest, limit)
    stems = sorted({tuple(answer[:-1]) for answer in answers})
    rows = iter([(i, stem) for i in range(len(texts)) for stem in stems])
    found = [[0.0] * len(answers) for _ in texts]
    while batch := list(islice(rows, _BATCH)):
        logs = _log_probabilities(loaded, [contexts[i] + list(stem) for i, stem in batch])
        for row, (i, stem) in enumerate(batch):
            for j, answer in enumerate(answers):
                if tuple(answer[:-1]) == stem:
                    at = len(contexts[i]) - 1
                    found[i][j] = sum(float(logs[row, at + k, token]) for k, token in enumerate(answer))
    return found


def _log_probabilities(loaded: Loaded, rows: list[list[int]]) -> Any:
    """float32 log-probabilities [rows, tokens, vocabulary]; rows are padded on the right."""
    ids, mask = _padded(loaded, rows)
    with torch.inference_mode():
        return loaded.model(input_ids=ids, attention_mask=mask).logits.float().log_softmax(-1)


def _of_head(loaded: Loaded, contexts: list[list[int]]) -> list[list[float]]:
    _check_lengths(contexts, 0, int(loaded.model.config.max_position_embeddings))
    order = sorted(range(len(contexts)), key=lambda i: len(contexts[i]))
    found: list[list[float]] = [[] for _ in contexts]
    for start in range(0, len(order), _BATCH):
        batch = order[start : start + _BATCH]
        ids, mask = _padded(loaded, [contexts[i] for i in batch])
        with torch.inference_mode():
            states = loaded.model.get_decoder()(input_ids=ids, attention_mask=mask, use_cache=False).last_hidden_state
            logits = loaded.model.score(pooled(loaded.model, states, mask))
        for i, row in zip(batch, logits.float().log_softmax(-1).tolist(), strict=True):
            found[i] = row
    return found


def _check_lengths(contexts: list[list[int]], more: int, limit: int) -> None:
    for i, context in enumerate(contexts):
        if len(context) + more > limit:
            raise InvalidInput(f"text {i} needs {len(context) + more} tokens, the model reads {limit}: shorten it")


def _padded(loaded: Loaded, rows: list[list[int]]) -> tuple[torch.Tensor, torch.Tensor]:
    width, pad = max(map(len, rows)), loaded.tokenizer.pad_token_id or 0
    ids = torch.tensor([row + [pad] * (width - len(row)) for row in rows], device=loaded.model.device)
    mask = torch.tensor([[1] * len(row) + [0] * (width - len(row)) for row in rows], device=loaded.model.device)
    return ids, mask


def _ids(tokenizer: Any, text: str) -> list[int]:
    return list(tokenizer(text, add_special_tokens=False)["input_ids"])
