"""Labels as a head gives them: one forward pass a text, however many labels."""

from collections.abc import Sequence

import torch

from supply_chain.inference import Loaded, pooled

_BATCH = 16


class HeadScorer:
    """Scores contexts with a loaded model that has a head of labels."""

    longest = 0
    """Tokens that a label takes after its context."""

    def __init__(self, loaded: Loaded):
        self.loaded = loaded

    def score(self, contexts: Sequence[tuple[int, ...]]) -> list[list[float]]:
        """Log-probability of every label: [contexts, labels]."""
        order = sorted(range(len(contexts)), key=lambda i: len(contexts[i]))
        found: dict[int, list[float]] = {}
        for start in range(0, len(order), _BATCH):
            rows = order[start : start + _BATCH]
            found.update(zip(rows, self._batch([contexts[i] for i in rows]), strict=True))
        return [found[i] for i in range(len(contexts))]

    def _batch(self, rows: list[tuple[int, ...]]) -> list[list[float]]:
        model, width = self.loaded.model, max(map(len, rows))
        pad = self.loaded.tokenizer.pad_token_id or 0
        ids = torch.tensor([[*row, *[pad] * (width - len(row))] for row in rows], device=model.device)
        mask = torch.tensor([[1] * len(row) + [0] * (width - len(row)) for row in rows], device=model.device)
        with torch.inference_mode():
            states = model.get_decoder()(input_ids=ids, attention_mask=mask, use_cache=False).last_hidden_state
            found: list[list[float]] = model.score(pooled(model, states, mask)).float().log_softmax(-1).tolist()
        return found
