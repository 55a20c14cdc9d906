"""The one renderer: the same strings for training, evaluation and serving."""

import json
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from supply_chain.errors import InvalidInput
from supply_chain.identity import canonical_json, identity
from supply_chain.recipe.data import Task
from supply_chain.recipe.jinja import render
from supply_chain.recipe.prompt import JinjaPrompt, PlainPrompt, Prompt

VERSION = 1
ChatTemplate = Callable[[list[dict[str, str]]], str]
_DECODER = json.JSONDecoder()


@dataclass(frozen=True)
class Renderer:
    """Turns a text into model input (`context`), an answer into what the model writes, and that back.

    A class name or a text is written as itself; a list of labels or an object of fields as compact JSON.
    `chat` renders messages with the tokenizer's chat template; only a chat prompt needs it. `shots`
    (texts and labels) are shown before each text.
    """

    prompt: Prompt
    labels: tuple[str, ...]
    chat: ChatTemplate | None = None
    task: Task = "classification"
    shots: tuple[tuple[str, str], ...] = ()

    @classmethod
    def of(cls, prompt: Prompt, labels: list[str], tokenizer: Any, task: Task = "classification") -> "Renderer":
        """A renderer that uses `tokenizer`'s chat template."""

        def chat(messages: list[dict[str, str]]) -> str:
            return str(tokenizer.apply_chat_template(messages, tokenize=False, add_generation_prompt=True))

        return cls(prompt, tuple(labels), chat, task)

    @property
    def sha256(self) -> str:
        """Identity of everything that decides the rendering, but for the chat template's own digest."""
        task = {} if self.task == "classification" else {"task": self.task}
        return identity("prompt", VERSION, prompt=self.prompt, labels=self.labels, **task)

    def context(self, text: str) -> str:
        """What the model reads before it answers. Raises InvalidInput when a template leaves out the text."""
        if isinstance(self.prompt, PlainPrompt):
            shown = "".join(f"{self._plain(t)}{self.answer(label)}\n\n" for t, label in self.shots)
            return shown + self._plain(text)
        if isinstance(self.prompt, JinjaPrompt):
            return self._templated(self.prompt, text)
        if self.chat is None:
            raise ValueError("a chat prompt needs a tokenizer with a chat template")
        turns = [{"role": "system", "content": self.prompt.instruction}]
        for shot, label in self.shots:
            turns += [{"role": "user", "content": shot}, {"role": "assistant", "content": self.answer(label)}]
        return self.chat([*turns, {"role": "user", "content": text}])

    @property
    def answers(self) -> tuple[str, ...]:
        """What follows the context for each label of a classification, in the labels' order."""
        return tuple(self._space + self._written(label) for label in self.labels)

    def answer(self, label: str) -> str:
        """What follows the context for one answer (see `Example.label`)."""
        if self.task == "classification":
            return self.answers[self.labels.index(label)]
        if self.task == "generation":
            return self._space + label
        value = json.loads(label)
        if isinstance(value, list):
            return self._space + canonical_json(sorted(self._written(k) for k in value))
        place = {name: i for i, name in enumerate(self.prompt.order)}
        names = sorted(value, key=lambda k: (place.get(k, len(place)), self._written(k)))
        written = {self._written(k): value[k] for k in names}
        return self._space + json.dumps(written, separators=(",", ":"), ensure_ascii=False)

    def complete(self, written: str) -> bool:
        """Whether the model has written a whole JSON value, so that nothing more needs to be read.

        A text (generation) is whole when the model ends it.
        """
        return self.task != "generation" and self._value(written) is not None

    def read(self, written: str) -> str:
        """The answer in a text that the model wrote, in canonical form; empty where it holds none."""
        if self.task == "generation":
            return written.strip()
        value = self._value(written)
        back = {self._written(label): label for label in self.labels}
        if isinstance(value, dict) and self.task == "extraction":
            flat = {k: v for k, v in value.items() if isinstance(v, str | int | float | bool | list)}
            return canonical_json({back.get(k, k): v for k, v in flat.items()}) if len(flat) == len(value) else ""
        if isinstance(value, list) and self.task == "multilabel" and all(isinstance(v, str) for v in value):
            return canonical_json(sorted({back.get(v, v) for v in value}))
        return ""

    @property
    def _space(self) -> str:
        if isinstance(self.prompt, JinjaPrompt):
            return self.prompt.before_answer
        return " " if isinstance(self.prompt, PlainPrompt) else ""

    def _templated(self, prompt: JinjaPrompt, text: str) -> str:
        shots = [(shot, self.answer(label).removeprefix(prompt.before_answer)) for shot, label in self.shots]
        try:
            return render(prompt.template, text, [self._written(label) for label in self.labels], shots)
        except ValueError as error:
            raise InvalidInput(f"prompt.template {error}; the text begins with {text[:60]!r}") from None

    def _plain(self, text: str) -> str:
        assert isinstance(self.prompt, PlainPrompt)
        return f"{self.prompt.before}{text}{self.prompt.after}"

    def _written(self, label: str) -> str:
        return self.prompt.answers.get(label, label)

    @staticmethod
    def _value(written: str) -> dict[str, Any] | list[Any] | None:
        text = written.lstrip()
        if not text.startswith(("{", "[")):
            return None
        try:
            value: dict[str, Any] | list[Any] = _DECODER.raw_decode(text)[0]
        except (ValueError, RecursionError):
            return None
        return value
