"""The generalist behind an endpoint as a contestant: asked the test rows as in service, each of them paid once."""

from pathlib import Path

import numpy as np

from evals.predictions import Answer, sampled_test, write_answers
from supply_chain.errors import InvalidInput
from supply_chain.identity import identity
from supply_chain.job import Job
from supply_chain.questions import messages_of, reader
from supply_chain.recipe.endpoint import GENERALIST, Endpoint, closed_to
from supply_chain.records import Paid, Predictions
from supply_chain.store import Stored

VERSION = 1
NAME = "generalist"


def ask_generalist(job: Job, endpoint: Endpoint) -> Stored[Predictions]:
    """Its answers to the test rows; a reply that holds none is an empty answer, which is wrong.

    It states no confidence: 1 for a reply that can be read, else 0. Raises InvalidInput for data that must not be
    sent to the endpoint, and as `ask_all` does; what it said until then is kept.
    """
    splits, recipe, spec = job.splits.verify(), job.recipe, job.recipe.evaluate
    faults = closed_to(endpoint, splits.record.sensitivity, splits.record.zone, GENERALIST)
    if faults:
        raise InvalidInput("; ".join(faults))
    seed = job.settings.seed
    rows_of = {"splits": splits.digest, "max_rows": spec.max_rows, "seed": seed, "task": recipe.task}
    key = identity(NAME, VERSION, endpoint=endpoint.deciding, **rows_of)

    def make(folder: Path) -> Predictions:
        from supply_chain.asking import ask_all  # noqa: PLC0415 (its client is an extra)

        rows, read = sampled_test(splits, spec, seed), reader(recipe.task, job.labels)
        messages = [messages_of(endpoint, recipe.task, job.labels, row.text) for row in rows]
        asked = ask_all(job.settings, job.store, endpoint, messages, read, GENERALIST)
        answers = [read(text) for text in asked.texts]
        said = zip(answers, asked.texts, strict=True)
        write_answers(folder, rows, [Answer(answer, float(answer != ""), text) for answer, text in said])
        if not asked.seconds:
            raise InvalidInput(
                f"the answers of {endpoint.model} were kept before they were timed: move "
                f"{job.settings.home / 'teachers'} away to ask anew"
            )
        p50, p95 = np.quantile(asked.seconds, [0.5, 0.95])
        return Predictions(
            contestant=NAME,
            model_digest="",
            splits_digest=splits.digest,
            labels=job.labels,
            task=recipe.task,
            rows=len(rows),
            p50_ms=1000 * float(p50),
            p95_ms=1000 * float(p95),
            size_bytes=0,
            peak_memory_bytes=0,
            load_seconds=0.0,
            decisions_per_second=1 / max(float(np.mean(asked.seconds)), 1e-9),
            paid=Paid(
                model=endpoint.model,
                questions=len({row.text for row in rows}),
                unreadable=answers.count(""),
                **vars(asked.spent),
            ),
        )

    return job.store.once(Predictions, key, make)


def price_per_1k(endpoint: Endpoint, paid: Paid) -> float | None:
    """US dollars that 1,000 answers were paid at the recipe's prices; None where those leave it open."""
    priced = endpoint.usd_per_million_in or endpoint.usd_per_million_out
    if paid.uncounted or not priced:
        return None
    usd = (paid.tokens_in * endpoint.usd_per_million_in + paid.tokens_out * endpoint.usd_per_million_out) / 1e6
    return 1000 * usd / paid.questions
