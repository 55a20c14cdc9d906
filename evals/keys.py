"""Identities of predictions, computable without the libraries that make them."""

from supply_chain.identity import identity
from supply_chain.job import Job

VERSION = 1


def baseline_key(name: str, job: Job) -> str:
    """What decides a baseline's answers."""
    return identity("baseline", VERSION, name=name, **_rows(job))


def model_key(contestant: str, model_digest: str, job: Job) -> str:
    """What decides a model's answers; its digest covers the tokenizer and its chat template."""
    return identity(
        "predictions", VERSION, contestant=contestant, model=model_digest, prompt=job.prompt_sha256, **_rows(job)
    )


def _rows(job: Job) -> dict[str, object]:
    spec = job.recipe.evaluate
    return {
        "splits": job.splits.digest,
        "max_rows": spec.max_rows,
        "latency_rows": spec.latency_rows,
        "seed": job.settings.seed,
    }
