"""Likelihoods of labels: evaluation, calibration and serving take the same sums."""

from collections.abc import Sequence
from typing import Any

from supply_chain.errors import InvalidInput
from supply_chain.heads import HeadScorer
from supply_chain.inference import Loaded, has_head
from supply_chain.prompt import Renderer
from supply_chain.tree import Tree, TreeScorer


class LabelScorer:
    """Scores the labels of one renderer: with the model's head if it has one, else as the model would write them."""

    def __init__(self, loaded: Loaded, renderer: Renderer):
        self.loaded, self.renderer = loaded, renderer
        self.scorer = HeadScorer(loaded) if has_head(loaded.model) else AnswerScorer(loaded, renderer)

    def likelihoods(self, texts: Sequence[str]) -> list[list[float]]:
        """Log-likelihood of every label after every text's context: [texts, labels].

        Raises InvalidInput for a text that does not fit the model's context.
        """
        contexts = [tuple(_ids(self.loaded.tokenizer, self.renderer.context(text))) for text in texts]
        limit = int(self.loaded.model.config.max_position_embeddings)
        for i, context in enumerate(contexts):
            needed = len(context) + self.scorer.longest
            if needed > limit:
                raise InvalidInput(f"text {i} needs {needed} tokens, the model reads {limit}: shorten it")
        return self.scorer.score(contexts)


class AnswerScorer:
    """Scores what the model would write for each label; what all prompts share is computed once and kept."""

    def __init__(self, loaded: Loaded, renderer: Renderer):
        answers = [tuple(_ids(loaded.tokenizer, answer)) for answer in renderer.answers]
        self.tree, self.longest = Tree.of(answers), max(map(len, answers))
        self.trees = TreeScorer(loaded.model)
        self.trees.keep([tuple(_ids(loaded.tokenizer, renderer.context(probe))) for probe in ("0", "~")])

    def score(self, contexts: Sequence[tuple[int, ...]]) -> list[list[float]]:
        """Log-likelihood of every label's answer: [contexts, labels]."""
        return [found.likelihoods for found in self.trees.score([(context, self.tree) for context in contexts])]


def label_likelihoods(loaded: Loaded, renderer: Renderer, texts: Sequence[str]) -> list[list[float]]:
    """`LabelScorer.likelihoods` for a single call."""
    return LabelScorer(loaded, renderer).likelihoods(texts)


def _ids(tokenizer: Any, text: str) -> list[int]:
    return list(tokenizer(text, add_special_tokens=False)["input_ids"])
