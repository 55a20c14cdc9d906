"""Train rows whose activations choose 4-bit codes: every label and every length takes part."""

import random
from collections.abc import Sequence

from supply_chain.job import Job
from supply_chain.prompt import Renderer
from supply_chain.records import Example


def calibration_rows(job: Job, rows: Sequence[Example], number: int) -> list[Example]:
    """`number` of `rows`: as many of each label as there are, and of each label one from every stretch of lengths.

    Seeded; the same rows give the same choice.
    """
    ranked = job.recipe.task == "classification"
    by_label: dict[str, list[Example]] = {}
    for row in sorted(rows, key=lambda row: (len(row.text), row.id)):
        by_label.setdefault(row.label if ranked else "", []).append(row)
    shares = dict.fromkeys(sorted(by_label), 0)
    while sum(shares.values()) < min(number, len(rows)):
        for label in shares:
            if shares[label] < len(by_label[label]) and sum(shares.values()) < number:
                shares[label] += 1
    source = random.Random(job.settings.seed)  # noqa: S311 (not for secrets)
    return [
        source.choice(by_label[label][i * len(by_label[label]) // share : (i + 1) * len(by_label[label]) // share])
        for label, share in shares.items()
        for i in range(share)
    ]


def calibration_prompts(job: Job, rows: Sequence[Example], tokenizer: object) -> list[list[int]]:
    """Token ids of the rows as the model is asked; written answers, which are read again token by token, included."""
    renderer = Renderer.of(job.recipe.prompt, job.labels, tokenizer, job.recipe.task)
    ranked = job.recipe.task == "classification"
    texts = [renderer.context(row.text) + ("" if ranked else renderer.answer(row.label)) for row in rows]
    return [tokenizer(text, add_special_tokens=False)["input_ids"] for text in texts]  # type: ignore[operator]
