"""The learned part: a linear head over static embeddings; one class a label of a specialist.

How sure it is that a text belongs to the fleet at all is the log-sum-exp of its logits (the negative
energy of Liu et al. 2020, arXiv:2010.03759); below a threshold the generalist answers.
"""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from pydantic import BaseModel, ConfigDict, ValidationError
from safetensors import SafetensorError
from safetensors.numpy import load_file, save_file

from registry.router.words import Vector, Words
from supply_chain.errors import CorruptData

TENSORS, TEXTS = "router.safetensors", "router.json"


class _Texts(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")
    classes: list[tuple[str, str]]
    threshold: float
    vocabulary: list[str]
    merges: list[str]


@dataclass(frozen=True)
class Guess:
    """Specialists by probability, the likeliest first, and how sure it is that the fleet is meant at all."""

    shares: dict[str, float]
    familiarity: float
    known: bool


class Classifier:
    """Words, head (classes × vector) and threshold."""

    def __init__(self, words: Words, classes: list[tuple[str, str]], head: Vector, bias: Vector, threshold: float):
        self.words, self.classes, self.bias, self.threshold = words, classes, bias, threshold
        self.head = np.ascontiguousarray(head)  # safetensors writes memory as it lies
        self.models = sorted({model for model, _ in classes})
        places = {model: place for place, model in enumerate(self.models)}
        self._places = np.array([places[model] for model, _ in classes])

    def guess(self, text: str) -> Guess:
        """Who is meant by a text."""
        logits = self.head @ self.words.embed(text) + self.bias
        top = float(logits.max())
        shares = np.exp(logits - top)
        total = float(shares.sum())
        by_model = np.bincount(self._places, weights=shares / total, minlength=len(self.models))
        order = np.argsort(-by_model, kind="stable")[:3]
        familiarity = top + float(np.log(total))
        found = {self.models[i]: float(by_model[i]) for i in order}
        return Guess(found, familiarity, familiarity >= self.threshold)

    def save(self, folder: Path) -> None:
        """Writes `router.safetensors` and `router.json`; the same classifier gives the same bytes."""
        vocabulary = sorted(self.words.vocabulary, key=self.words.vocabulary.__getitem__)
        texts = _Texts(classes=self.classes, threshold=self.threshold, vocabulary=vocabulary, merges=self.words.merges)
        (folder / TEXTS).write_text(texts.model_dump_json(), encoding="utf-8")
        words: dict[str, np.ndarray] = {"codes": self.words.codes, "scales": self.words.scales}
        save_file({**words, "head": self.head, "bias": self.bias}, folder / TENSORS)

    @classmethod
    def load(cls, folder: Path) -> "Classifier":
        """Raises CorruptData for files that are missing or do not fit together."""
        try:
            texts = _Texts.model_validate_json((folder / TEXTS).read_bytes())
            found = load_file(folder / TENSORS)
            codes, scales, head, bias = (found[name] for name in ("codes", "scales", "head", "bias"))
        except (OSError, KeyError, ValidationError, SafetensorError) as error:
            raise CorruptData(f"{folder} holds no whole router ({type(error).__name__}): train it again") from None
        rows, labels = len(texts.vocabulary), len(texts.classes)
        shapes = [codes.shape[0], *scales.shape, *bias.shape, *head.shape]
        expected = [rows, rows, labels, labels, codes.shape[1]]
        if shapes != expected:
            raise CorruptData(f"{folder}: tensors of shapes {shapes}, expected {expected}: train the router again")
        words = Words({word: i for i, word in enumerate(texts.vocabulary)}, texts.merges, codes, scales)
        return cls(words, texts.classes, head, bias, texts.threshold)
