"""Likelihoods of labels, as a served model decides: the same sums that evaluation takes."""

from collections.abc import Sequence
from itertools import islice
from typing import Any

import torch

from supply_chain.errors import InvalidInput
from supply_chain.inference import Loaded
from supply_chain.prompt import Renderer

_BATCH = 16


def label_likelihoods(loaded: Loaded, renderer: Renderer, texts: Sequence[str]) -> list[list[float]]:
    """Log-likelihood of every label's answer after every text's context: [texts, labels].

    Answers that share all tokens but the last share a forward pass. Raises InvalidInput for a text
    that does not fit the model's context.
    """
    tokenizer = loaded.tokenizer
    answers = [_ids(tokenizer, answer) for answer in renderer.answers]
    contexts = [_ids(tokenizer, renderer.context(text)) for text in texts]
    limit, longest = int(loaded.model.config.max_position_embeddings), max(map(len, answers))
    for i, context in enumerate(contexts):
        if len(context) + longest > limit:
            raise InvalidInput(f"text {i} needs {len(context) + longest} tokens, the model reads {limit}: shorten it")
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
    width, pad = max(map(len, rows)), loaded.tokenizer.pad_token_id or 0
    device = loaded.model.device
    ids = torch.tensor([row + [pad] * (width - len(row)) for row in rows], device=device)
    mask = torch.tensor([[1] * len(row) + [0] * (width - len(row)) for row in rows], device=device)
    with torch.inference_mode():
        return loaded.model(input_ids=ids, attention_mask=mask).logits.float().log_softmax(-1)


def _ids(tokenizer: Any, text: str) -> list[int]:
    return list(tokenizer(text, add_special_tokens=False)["input_ids"])
