"""Answers that the model writes: extraction and multi-label, read as JSON, and texts."""

import time
from dataclasses import replace
from pathlib import Path

from evals.answering import Sat, Sitting, shots
from evals.predictions import Answer, write_answers
from supply_chain.data.examples import read_split
from supply_chain.encode import answer_room
from supply_chain.errors import InvalidInput
from supply_chain.generation import write
from supply_chain.prompt import Renderer
from supply_chain.recipe.decoding import Setting
from supply_chain.serving import FILE as SERVING
from supply_chain.serving import read_serving


def answer(sitting: Sitting, folder: Path) -> Sat:
    """Writes `predictions.parquet`; what holds no answer is kept as it was written, and counts as wrong.

    Raises InvalidInput when the answer's tokens merge with the prompt's, or a row does not fit.
    """
    recipe, labels = sitting.recipe, sitting.splits.record.labels
    renderer = Renderer.of(recipe.prompt, labels, sitting.loaded.tokenizer, recipe.task)
    if sitting.subject.contestant == "base":
        renderer = replace(renderer, shots=shots(sitting))
    serving = read_serving(sitting.subject.path) if (sitting.subject.path / SERVING).exists() else None
    # The untuned base comes without, and gets as much room.
    train = read_split(sitting.splits, "train")
    room = serving.max_new_tokens if serving else answer_room(train, renderer, sitting.loaded.tokenizer)
    setting = serving.setting if serving else Setting()
    check_border(renderer, sitting)

    def ask(texts: list[str]) -> list[Answer]:
        contexts = [renderer.context(text) for text in texts]
        written = write(sitting.loaded, contexts, room, renderer.complete, setting=setting)
        free = recipe.task == "generation"
        return [Answer(renderer.read(w.text), w.confidence(a_token=free), w.text) for w in written]

    began = time.perf_counter()
    answers = ask([row.text for row in sitting.rows])
    seconds = time.perf_counter() - began
    write_answers(folder, sitting.rows, answers)
    return Sat(seconds, lambda texts: [found.answer for found in ask(texts)], serving.escalation if serving else None)


def check_border(renderer: Renderer, sitting: Sitting) -> None:
    """Raises InvalidInput when context and answer are other tokens together than apart, as training sees them."""
    encode = sitting.loaded.tokenizer.encode
    for row in sitting.rows:
        context, start = renderer.context(row.text), renderer.answer(row.label)[:2]
        apart = encode(context, add_special_tokens=False) + encode(start, add_special_tokens=False)
        if encode(context + start, add_special_tokens=False) != apart:
            raise InvalidInput(
                f"prompt: the tokens of an answer's start ({start!r}) merge with the end of the prompt "
                f"({context[-12:]!r}, row {row.id}); change the prompt's end"
            )
