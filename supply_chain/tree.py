"""Scores all continuations of a context in one forward pass, as a tree of their shared prefixes.

A token of the tree sees the context and its own ancestors, so that every path reads as if it stood
alone (tree attention: Miao et al. 2023, SpecInfer, arXiv:2305.09781; Cai et al. 2024, Medusa,
arXiv:2401.10774). What all contexts start with is computed once and kept.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from transformers import DynamicCache

Tokens = tuple[int, ...]
_BATCH_TOKENS = 2048
_HEAD_POSITIONS = 512
_WORTH_KEEPING = 16


@dataclass(frozen=True)
class Tree:
    """Continuations as a prefix tree. Last tokens need no forward pass: only what they follow is read.

    `tokens`, `parents` (-1: the context) and `depths` describe its nodes; `paths` tells for every
    continuation at which node each token is predicted (0: the context, i: node i - 1), and the token.
    """

    tokens: tuple[int, ...]
    parents: tuple[int, ...]
    depths: tuple[int, ...]
    paths: tuple[tuple[tuple[int, int], ...], ...]

    @classmethod
    def of(cls, continuations: Sequence[Tokens]) -> "Tree":
        """The tree of some continuations, each of at least one token."""
        places: dict[Tokens, int] = {(): -1}
        paths = []
        for tokens in continuations:
            for end in range(1, len(tokens)):
                places.setdefault(tokens[:end], len(places) - 1)
            paths.append(tuple((places[tokens[:k]] + 1, token) for k, token in enumerate(tokens)))
        nodes = [prefix for prefix in places if prefix]
        return cls(
            tuple(prefix[-1] for prefix in nodes),
            tuple(places[prefix[:-1]] for prefix in nodes),
            tuple(len(prefix) for prefix in nodes),
            tuple(paths),
        )

    def sees(self) -> torch.Tensor:
        """Which node attends to which: [nodes, nodes], true for itself and its ancestors."""
        mask = torch.eye(len(self.tokens), dtype=torch.bool)
        for node, parent in enumerate(self.parents):
            if parent >= 0:
                mask[node] |= mask[parent]
        return mask


@dataclass(frozen=True)
class Scored:
    """Log-likelihoods (nats) of a context's continuations, and whether each is what greedy decoding writes."""

    likelihoods: list[float]
    greedy: list[bool]


@dataclass(frozen=True)
class Prefix:
    """What contexts start with, and its keys and values."""

    tokens: Tokens
    cache: Any

    def starts(self, contexts: Sequence[Tokens]) -> bool:
        """Whether each context goes on after this prefix."""
        return all(len(c) > len(self.tokens) and c[: len(self.tokens)] == self.tokens for c in contexts)

    def repeated(self, rows: int) -> Any:
        """The prefix for `rows` rows, in a cache of its own: a forward pass appends to it."""
        if self.cache is None:
            return None
        cache = DynamicCache()
        for index, layer in enumerate(self.cache.layers):
            cache.update(layer.keys.expand(rows, -1, -1, -1), layer.values.expand(rows, -1, -1, -1), index)
        return cache


_NOTHING = Prefix((), None)


class TreeScorer:
    """Scores token ids with a loaded causal model, batched by length."""

    def __init__(self, model: Any, batch_tokens: int = _BATCH_TOKENS):
        self.model, self.batch_tokens = model, batch_tokens
        self._kept = _NOTHING
        self._masks: dict[Tree, torch.Tensor] = {}

    def keep(self, contexts: Sequence[Tokens]) -> None:
        """Computes what `contexts` start with, if that is worth it, for this and later calls."""
        low, high = min(contexts), max(contexts)
        shared = next((k for k, (a, b) in enumerate(zip(low, high, strict=False)) if a != b), min(len(low), len(high)))
        shared = min(shared, min(map(len, contexts)) - 1)
        if shared >= _WORTH_KEEPING:
            cache = DynamicCache()
            ids = torch.tensor([low[:shared]], device=self.model.device)
            with torch.inference_mode():
                self.model.get_decoder()(input_ids=ids, past_key_values=cache, use_cache=True)
            self._kept = Prefix(low[:shared], cache)

    def score(self, rows: Sequence[tuple[Tokens, Tree]]) -> list[Scored]:
        """One result for each (context, tree); a context holds at least one token."""
        contexts = [context for context, _ in rows]
        if len(rows) > 1 and not (self._kept.tokens and self._kept.starts(contexts)):
            self.keep(contexts)
        prefix = self._kept if self._kept.starts(contexts) else _NOTHING
        found: dict[int, Scored] = {}
        with torch.inference_mode():
            for batch in self._batches(rows, len(prefix.tokens)):
                found.update(zip(batch, self._score([rows[i] for i in batch], prefix), strict=True))
        self._masks.clear()
        return [found[i] for i in range(len(rows))]

    def _batches(self, rows: Sequence[tuple[Tokens, Tree]], start: int) -> Iterator[list[int]]:
        sizes = [len(context) - start + len(tree.tokens) for context, tree in rows]
        batch: list[int] = []
        for i in sorted(range(len(rows)), key=lambda i: (sizes[i], rows[i][0])):
            if batch and sizes[i] * (len(batch) + 1) > self.batch_tokens:
                yield batch
                batch = []
            batch.append(i)
        if batch:
            yield batch

    def _score(self, rows: list[tuple[Tokens, Tree]], prefix: Prefix) -> list[Scored]:
        start, device = len(prefix.tokens), self.model.device
        contexts, trees = [context[start:] for context, _ in rows], [tree for _, tree in rows]
        left, right = max(map(len, contexts)), max(len(tree.tokens) for tree in trees)
        ids = torch.zeros(len(rows), left + right, dtype=torch.long)
        positions = torch.zeros_like(ids)
        mask = torch.zeros(len(rows), left + right, start + left + right, dtype=torch.bool)
        for row, (context, tree) in enumerate(zip(contexts, trees, strict=True)):
            pad, nodes, end = left - len(context), len(tree.tokens), left + len(tree.tokens)
            ids[row, pad:end] = torch.tensor(context + tree.tokens)
            positions[row, pad:end] = start + torch.tensor(
                [*range(len(context)), *(len(context) + depth - 1 for depth in tree.depths)]
            )
            mask[row, :, :start] = True
            mask[row, pad:left, start + pad : start + left] = torch.ones(left - pad, left - pad).tril().bool()
            mask[row, left:end, start + pad : start + left] = True
            mask[row, left:end, start + left : start + end] = self._mask(tree)
            blank = torch.tensor([*range(pad), *range(left + nodes, left + right)], dtype=torch.long)
            mask[row, blank, start + blank] = True  # a row of a mask that sees nothing gives no number
        states = self._states(ids.to(device), positions.to(device), mask.to(device), prefix)
        return self._read(states[:, left - 1 :], trees)

    def _mask(self, tree: Tree) -> torch.Tensor:
        if tree not in self._masks:
            self._masks[tree] = tree.sees()
        return self._masks[tree]

    def _states(self, ids: torch.Tensor, positions: torch.Tensor, mask: torch.Tensor, prefix: Prefix) -> torch.Tensor:
        """Hidden states [rows, tokens, hidden] after `prefix`."""
        dtype = self.model.get_input_embeddings().weight.dtype
        bias = torch.zeros(mask.shape, dtype=dtype, device=mask.device).masked_fill_(~mask, torch.finfo(dtype).min)
        found = self.model.get_decoder()(
            input_ids=ids,
            position_ids=positions,
            attention_mask=bias[:, None],
            past_key_values=prefix.repeated(len(ids)),
            use_cache=bool(prefix.tokens),
        )
        states: torch.Tensor = found.last_hidden_state
        return states

    def _read(self, states: torch.Tensor, trees: list[Tree]) -> list[Scored]:
        """Log-likelihoods from the states of the contexts' last tokens and of the trees' nodes."""
        spots = [(row, spot, token) for row, tree in enumerate(trees) for path in tree.paths for spot, token in path]
        places = sorted({(row, spot) for row, spot, _ in spots})
        index = {place: k for k, place in enumerate(places)}
        at = torch.tensor(places, device=states.device)
        wanted = torch.tensor([(index[row, spot], token) for row, spot, token in spots], device=states.device)
        flat = states[at[:, 0], at[:, 1]]
        order = wanted[:, 0].argsort()
        values, best = torch.empty(len(spots)), torch.empty(len(spots), dtype=torch.bool)
        head = self.model.get_output_embeddings()
        for start in range(0, len(places), _HEAD_POSITIONS):
            chunk = order[(wanted[order, 0] >= start) & (wanted[order, 0] < start + _HEAD_POSITIONS)]
            logits = head(flat[start : start + _HEAD_POSITIONS]).float()
            norms, tops = logits.logsumexp(-1), logits.argmax(-1)
            here, tokens = wanted[chunk, 0] - start, wanted[chunk, 1]
            values[chunk] = (logits[here, tokens] - norms[here]).cpu()
            best[chunk] = (tops[here] == tokens).cpu()
        return list(_gathered(values.tolist(), best.tolist(), trees))


def _gathered(values: list[float], best: list[bool], trees: list[Tree]) -> Iterator[Scored]:
    start = 0
    for tree in trees:
        likelihoods, greedy = [], []
        for path in tree.paths:
            likelihoods.append(sum(values[start : start + len(path)]))
            greedy.append(all(best[start : start + len(path)]))
            start += len(path)
        yield Scored(likelihoods, greedy)
