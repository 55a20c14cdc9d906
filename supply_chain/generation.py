"""Writes answers: KV cache, batches by length, and each row leaves its batch when it is done."""

from collections.abc import Callable, Sequence
from typing import Any

import torch
from transformers import DynamicCache

from supply_chain.decoding import Picker
from supply_chain.errors import InvalidInput
from supply_chain.loaded import Loaded, Written
from supply_chain.recipe.decoding import Setting

_BATCH = 64
GREEDY = Setting()


def write(
    loaded: Loaded,
    contexts: Sequence[str],
    max_new_tokens: int,
    complete: Callable[[str], bool],
    batch: int = _BATCH,
    setting: Setting = GREEDY,
) -> list[Written]:
    """The continuation of every context, in their order: greedy, or as `setting` says.

    A row ends with the end token, when `complete` says that its text is whole, or at `max_new_tokens`.
    Raises InvalidInput for a context that does not fit the model.
    """
    encoded = [list(loaded.tokenizer(context, add_special_tokens=False)["input_ids"]) for context in contexts]
    limit = loaded.context_tokens
    over = [f"{i} ({len(ids)})" for i, ids in enumerate(encoded) if len(ids) + max_new_tokens > limit]
    if over:
        raise InvalidInput(
            f"{len(over)} texts leave no room for {max_new_tokens} tokens of answer in the model's context of {limit}: "
            f"{', '.join(over[:5])}; lower data.rules.max_chars"
        )
    if loaded.native:
        from supply_chain.llama_cpp import write_all  # noqa: PLC0415

        return write_all(loaded, encoded, max_new_tokens, complete, setting)
    order = sorted(range(len(encoded)), key=lambda i: (len(encoded[i]), i))
    found: dict[int, Written] = {}
    for start in range(0, len(order), batch):
        rows = order[start : start + batch]
        writer = _Batch(loaded, [encoded[i] for i in rows], complete, setting)
        found.update(zip(rows, writer.run(max_new_tokens), strict=True))
    return [found[i] for i in range(len(encoded))]


class _Batch:
    """Rows that are written together, padded on the left."""

    def __init__(self, loaded: Loaded, contexts: list[list[int]], complete: Callable[[str], bool], setting: Setting):
        self.loaded, self.complete = loaded, complete
        self.pickers = None if setting.greedy else [Picker(setting, context) for context in contexts]
        width, device = max(map(len, contexts)), loaded.model.device
        pad = loaded.tokenizer.pad_token_id or 0
        self.ids = torch.tensor([[pad] * (width - len(c)) + c for c in contexts], device=device)
        self.mask = torch.tensor([[0] * (width - len(c)) + [1] * len(c) for c in contexts], device=device)
        self.rows = list(range(len(contexts)))
        self.written: list[list[int]] = [[] for _ in contexts]
        self.likelihoods = [0.0] * len(contexts)
        self.cache: Any = DynamicCache()

    def run(self, max_new_tokens: int) -> list[Written]:
        with torch.inference_mode():
            for _ in range(max_new_tokens):
                if not self.rows:
                    break
                self._step()
        decode = self.loaded.tokenizer.decode
        return [
            Written(decode(ids, skip_special_tokens=True), likelihood, len(ids))
            for ids, likelihood in zip(self.written, self.likelihoods, strict=True)
        ]

    def _step(self) -> None:
        positions = (self.mask.cumsum(1) - 1).clamp_min(0)[:, -self.ids.shape[1] :]
        logits = self.loaded.model(
            input_ids=self.ids,
            attention_mask=self.mask,
            position_ids=positions,
            past_key_values=self.cache,
            use_cache=True,
            logits_to_keep=1,
        ).logits[:, -1]
        best, tokens = self._picked(logits.float())
        stay = [k for k, row in enumerate(self.rows) if self._goes_on(row, int(tokens[k]), float(best[k]))]
        self.ids = tokens[:, None]
        self.mask = torch.cat([self.mask, self.mask.new_ones(len(self.rows), 1)], dim=1)
        if len(stay) < len(self.rows):
            kept = torch.tensor(stay, device=self.ids.device, dtype=torch.long)
            self.rows = [self.rows[k] for k in stay]
            self.ids, self.mask = self.ids[kept], self.mask[kept]
            if stay:
                self.cache.batch_select_indices(kept)

    def _picked(self, logits: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Log-probability and token of each row; the probability is the model's own, whatever was drawn."""
        shares = logits.log_softmax(-1)
        if self.pickers is None:
            return shares.max(-1)
        raw = logits.cpu().numpy()
        picked = [self.pickers[row].pick(raw[k]) for k, row in enumerate(self.rows)]
        tokens = torch.tensor(picked, device=logits.device, dtype=torch.long)
        return shares.gather(-1, tokens[:, None])[:, 0], tokens

    def _goes_on(self, row: int, token: int, likelihood: float) -> bool:
        if token == self.loaded.tokenizer.eos_token_id:
            return False
        self.written[row].append(token)
        self.likelihoods[row] += likelihood
        return not self.complete(self.loaded.tokenizer.decode(self.written[row], skip_special_tokens=True))
