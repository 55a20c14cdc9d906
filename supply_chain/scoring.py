"""Likelihoods of labels: evaluation, calibration and serving take the same sums."""

from collections.abc import Sequence
from typing import Any

from supply_chain.errors import InvalidInput
from supply_chain.inference import Loaded
from supply_chain.prompt import Renderer
from supply_chain.tree import Tree, TreeScorer


class LabelScorer:
    """Scores the labels of one renderer; what its prompts share is computed once and kept between calls."""

    def __init__(self, loaded: Loaded, renderer: Renderer):
        self.loaded, self.renderer, self.scorer = loaded, renderer, TreeScorer(loaded.model)
        answers = [tuple(_ids(loaded.tokenizer, answer)) for answer in renderer.answers]
        self.tree, self.longest = Tree.of(answers), max(map(len, answers))
        self.scorer.keep([tuple(_ids(loaded.tokenizer, renderer.context(probe))) for probe in ("0", "~")])

    def likelihoods(self, texts: Sequence[str]) -> list[list[float]]:
        """Log-likelihood of every label's answer after every text's context: [texts, labels].

        Raises InvalidInput for a text that does not fit the model's context.
        """
        contexts = [tuple(_ids(self.loaded.tokenizer, self.renderer.context(text))) for text in texts]
        limit = int(self.loaded.model.config.max_position_embeddings)
        for i, context in enumerate(contexts):
            if len(context) + self.longest > limit:
                raise InvalidInput(
                    f"text {i} needs {len(context) + self.longest} tokens, the model reads {limit}: shorten it"
                )
        return [found.likelihoods for found in self.scorer.score([(context, self.tree) for context in contexts])]


def label_likelihoods(loaded: Loaded, renderer: Renderer, texts: Sequence[str]) -> list[list[float]]:
    """`LabelScorer.likelihoods` for a single call."""
    return LabelScorer(loaded, renderer).likelihoods(texts)


def _ids(tokenizer: Any, text: str) -> list[int]:
    return list(tokenizer(text, add_special_tokens=False)["input_ids"])
