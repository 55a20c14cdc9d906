"""Likelihoods of labels: evaluation, calibration and serving take the same sums."""

from collections.abc import Sequence
from typing import Any

from supply_chain.errors import InvalidInput
from supply_chain.loaded import Loaded, has_head
from supply_chain.prompt import Renderer
from supply_chain.records import Example


class LabelScorer:
    """Scores the labels of one renderer: with the model's head if it has one, else as the model would write them."""

    def __init__(self, loaded: Loaded, renderer: Renderer):
        self.loaded, self.renderer = loaded, renderer
        self.scorer = _scorer(loaded, renderer)

    def likelihoods(self, texts: Sequence[str]) -> list[list[float]]:
        """Log-likelihood of every label after every text's context: [texts, labels].

        Raises InvalidInput for a text that does not fit the model's context.
        """
        contexts = [tuple(_ids(self.loaded.tokenizer, self.renderer.context(text))) for text in texts]
        limit = self.loaded.context_tokens
        for i, context in enumerate(contexts):
            needed = len(context) + self.scorer.longest
            if needed > limit:
                raise InvalidInput(f"text {i} needs {needed} tokens, the model reads {limit}: shorten it")
        return self.scorer.score(contexts)


class AnswerScorer:
    """Scores what the model would write for each label; what all prompts share is computed once and kept."""

    def __init__(self, loaded: Loaded, renderer: Renderer):
        from supply_chain.tree import Tree, TreeScorer  # noqa: PLC0415

        answers = [tuple(_ids(loaded.tokenizer, answer)) for answer in renderer.answers]
        self.tree, self.longest = Tree.of(answers), max(map(len, answers))
        self.trees = TreeScorer(loaded.model)
        self.trees.keep([tuple(_ids(loaded.tokenizer, renderer.context(probe))) for probe in ("0", "~")])

    def score(self, contexts: Sequence[tuple[int, ...]]) -> list[list[float]]:
        """Log-likelihood of every label's answer: [contexts, labels]."""
        return [found.likelihoods for found in self.trees.score([(context, self.tree) for context in contexts])]


def _scorer(loaded: Loaded, renderer: Renderer) -> Any:
    """What scores a context's labels. Torch is imported for its own models alone."""
    if loaded.native:
        from supply_chain.llama_cpp import LlamaScorer  # noqa: PLC0415

        return LlamaScorer(loaded, renderer.answers)
    if has_head(loaded.model):
        from supply_chain.heads import HeadScorer  # noqa: PLC0415

        return HeadScorer(loaded)
    return AnswerScorer(loaded, renderer)


def answer_likelihoods(loaded: Loaded, renderer: Renderer, rows: Sequence[Example]) -> list[list[float]]:
    """Log-likelihoods after each row's context: of every label, or of the row's own written answer."""
    if renderer.task == "classification":
        return label_likelihoods(loaded, renderer, [row.text for row in rows])
    pairs = [
        (_ids(loaded.tokenizer, renderer.context(r.text)), _ids(loaded.tokenizer, renderer.answer(r.label)))
        for r in rows
    ]
    if loaded.native:
        return [loaded.model.branch(context, [answer]) for context, answer in pairs]
    from supply_chain.tree import Tree, TreeScorer  # noqa: PLC0415

    trees = [(tuple(context), Tree.of([tuple(answer)])) for context, answer in pairs]
    return [found.likelihoods for found in TreeScorer(loaded.model).score(trees)]


def label_likelihoods(loaded: Loaded, renderer: Renderer, texts: Sequence[str]) -> list[list[float]]:
    """`LabelScorer.likelihoods` for a single call."""
    return LabelScorer(loaded, renderer).likelihoods(texts)


def _ids(tokenizer: Any, text: str) -> list[int]:
    return list(tokenizer(text, add_special_tokens=False)["input_ids"])
