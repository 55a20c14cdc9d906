"""Examples as token ids: context without loss, answer and end token with it."""

from collections.abc import Iterable
from typing import Any

from datasets import Dataset

from supply_chain.errors import InvalidInput
from supply_chain.prompt import Renderer
from supply_chain.records import Example


def training_rows(examples: Iterable[Example], renderer: Renderer, tokenizer: Any, max_tokens: int) -> Dataset:
    """Columns `input_ids` and `labels` (-100 where no loss is taken), one row an example.

    Context and answer are tokenized apart, as evaluation scores them. Raises InvalidInput for an
    example of more than `max_tokens`: cutting it would cut the answer.
    """
    rows = []
    for example in examples:
        context = _ids(tokenizer, renderer.context(example.text))
        answer = [*_ids(tokenizer, renderer.answer(example.label)), tokenizer.eos_token_id]
        if len(context) + len(answer) > max_tokens:
            raise InvalidInput(
                f"{example.file} line {example.line} needs {len(context) + len(answer)} tokens, more than "
                f"train.max_tokens = {max_tokens}: raise it or lower data.rules.max_chars"
            )
        rows.append({"input_ids": context + answer, "labels": [-100] * len(context) + answer})
    return Dataset.from_list(rows)


def answer_room(examples: Iterable[Example], renderer: Renderer, tokenizer: Any) -> int:
    """Tokens that a written answer may take: a quarter more than the longest of `examples`, and the end token."""
    longest = max(len(_ids(tokenizer, renderer.answer(example.label))) for example in examples)
    return longest + longest // 4 + 1


def _ids(tokenizer: Any, text: str) -> list[int]:
    return list(tokenizer(text, add_special_tokens=False)["input_ids"])
