"""Examples as token ids: context without loss, answer and end token with it."""

from collections.abc import Iterable
from typing import Any

from datasets import Dataset

from supply_chain.errors import InvalidInput
from supply_chain.prompt import Renderer
from supply_chain.records import Example


def training_rows(
    examples: Iterable[Example], renderer: Renderer, tokenizer: Any, max_tokens: int, head: bool = False
) -> Dataset:
    """Columns `row`, `input_ids`, `length` and `labels`, one row an example.

    `labels` are token ids (-100 where no loss is taken), or with `head` the class's number, and then
    `input_ids` holds the context alone. Context and answer are tokenized apart, as evaluation scores
    them. Raises InvalidInput for an example of more than `max_tokens`: cutting it would cut the answer.
    """
    rows = []
    for number, example in enumerate(examples):
        context = _ids(tokenizer, renderer.context(example.text))
        answer = [] if head else [*_ids(tokenizer, renderer.answer(example.label)), tokenizer.eos_token_id]
        length = len(context) + len(answer)
        if length > max_tokens:
            raise InvalidInput(
                f"{example.file} line {example.line} needs {length} tokens, more than "
                f"train.max_tokens = {max_tokens}: raise it or lower data.rules.max_chars"
            )
        labels = renderer.labels.index(example.label) if head else [-100] * len(context) + answer
        rows.append({"row": number, "input_ids": context + answer, "length": length, "labels": labels})
    return Dataset.from_list(rows)


def answer_room(examples: Iterable[Example], renderer: Renderer, tokenizer: Any) -> int:
    """Tokens that a written answer may take: a quarter more than the longest of `examples`, and the end token."""
    longest = max(len(_ids(tokenizer, renderer.answer(example.label))) for example in examples)
    return longest + longest // 4 + 1


def _ids(tokenizer: Any, text: str) -> list[int]:
    return list(tokenizer(text, add_special_tokens=False)["input_ids"])
