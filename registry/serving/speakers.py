"""Who speaks behind the chat protocol: a specialist as it was evaluated, or a base model that chats."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from registry.router.proxying import content_of, text_of
from supply_chain.answer import Answerer
from supply_chain.opening import open_artifact, serving_compute
from supply_chain.settings import load_settings

Messages = Sequence[Mapping[str, Any]]
_ROLES = ("system", "user", "assistant")


@dataclass(frozen=True)
class Reply:
    """What was said, its length in tokens, and how sure the speaker is (None: it does not tell)."""

    text: str
    prompt_tokens: int
    tokens: int
    confidence: float | None = None


class Speaker(Protocol):
    """One model behind the protocol."""

    limit: int
    """Tokens of prompt and answer together."""

    def needs(self, messages: Messages) -> int:
        """Tokens of prompt and answer, at most."""

    def speak(self, messages: Messages) -> Reply:
        """The answer to the last message of a user."""


class Specialist:
    """Answers as the registered model does: its own prompt, its own decoding, the calibrated confidence.

    What a caller says besides the text (system messages, sampling parameters) changes nothing: with another
    prompt or other parameters it would be another model as far as evidence goes.
    """

    def __init__(self, path: Path):
        """Loads an artifact's folder. Raises CorruptData when its bytes are not the recorded ones."""
        self.answerer = Answerer(path)
        self.limit = self.answerer.loaded.context_tokens

    def needs(self, messages: Messages) -> int:
        """Tokens of prompt and answer, at most."""
        return self.answerer.tokens(text_of(messages)) + self.answerer.room

    def speak(self, messages: Messages) -> Reply:
        """A label, or canonical JSON, or a text; raises InvalidInput for a text that the prompt cannot hold."""
        text = text_of(messages)
        (found,) = self.answerer.answer([text])
        written = len(self.answerer.loaded.tokenizer(found.label, add_special_tokens=False)["input_ids"])
        return Reply(found.label, self.answerer.tokens(text), written, found.confidence)


class Chatting:
    """A base model that chats with its own template, greedily: the demo's generalist. It has learned nothing here."""

    def __init__(self, path: Path, room: int = 48):
        """Loads a base model's folder; `room` is the longest answer in tokens."""
        self.loaded, self.room = open_artifact(path, serving_compute(path, load_settings())), room
        self.limit = self.loaded.context_tokens

    def needs(self, messages: Messages) -> int:
        """Tokens of prompt and answer, at most."""
        return self._tokens(self._context(messages)) + self.room

    def speak(self, messages: Messages) -> Reply:
        """What the model writes after the conversation."""
        from supply_chain.generation import write  # noqa: PLC0415 (torch)

        context = self._context(messages)
        (written,) = write(self.loaded, [context], self.room, lambda _: False)
        return Reply(written.text.strip(), self._tokens(context), written.tokens)

    def _context(self, messages: Messages) -> str:
        turns = [{"role": m["role"], "content": content_of(m)} for m in messages if m.get("role") in _ROLES]
        return str(self.loaded.tokenizer.apply_chat_template(turns, tokenize=False, add_generation_prompt=True))

    def _tokens(self, text: str) -> int:
        return len(self.loaded.tokenizer(text, add_special_tokens=False)["input_ids"])
