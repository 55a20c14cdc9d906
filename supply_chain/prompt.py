"""The one renderer: the same strings for training, evaluation and serving."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from supply_chain.identity import identity
from supply_chain.recipe.schema import ChatPrompt, PlainPrompt

VERSION = 1
ChatTemplate = Callable[[list[dict[str, str]]], str]


@dataclass(frozen=True)
class Renderer:
    """Turns a text into model input (`context`) and each label into what the model writes (`answers`).

    `chat` renders messages with the tokenizer's chat template; only a chat prompt needs it.
    """

    prompt: PlainPrompt | ChatPrompt
    labels: tuple[str, ...]
    chat: ChatTemplate | None = None

    @classmethod
    def of(cls, prompt: PlainPrompt | ChatPrompt, labels: list[str], tokenizer: Any) -> "Renderer":
        """A renderer that uses `tokenizer`'s chat template."""

        def chat(messages: list[dict[str, str]]) -> str:
            return str(tokenizer.apply_chat_template(messages, tokenize=False, add_generation_prompt=True))

        return cls(prompt, tuple(labels), chat)

    @property
    def sha256(self) -> str:
        """Identity of everything that decides the rendering, but for the chat template's own digest."""
        return identity("prompt", VERSION, prompt=self.prompt, labels=self.labels)

    def context(self, text: str) -> str:
        """What the model reads before it answers."""
        if isinstance(self.prompt, PlainPrompt):
            return f"{self.prompt.before}{text}{self.prompt.after}"
        if self.chat is None:
            raise ValueError("a chat prompt needs a tokenizer with a chat template")
        return self.chat([{"role": "system", "content": self.prompt.instruction}, {"role": "user", "content": text}])

    @property
    def answers(self) -> tuple[str, ...]:
        """What follows the context for each label, in the labels' order."""
        space = " " if isinstance(self.prompt, PlainPrompt) else ""
        return tuple(space + self.prompt.answers.get(label, label) for label in self.labels)

    def answer(self, label: str) -> str:
        """What follows the context for one label."""
        return self.answers[self.labels.index(label)]
