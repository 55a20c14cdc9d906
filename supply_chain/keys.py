"""Identities of heavy stages, computable without the libraries that do the work.

Raise a stage's version when its code would make something else from the same inputs.
"""

from supply_chain.identity import identity
from supply_chain.job import Job
from supply_chain.lineage import origins
from supply_chain.recipe.quantize import Quantize
from supply_chain.records import Artifact, Trained
from supply_chain.store import Stored

VERSIONS = {"adapter": 4, "merged": 6, "quantized": 6, "parity": 1}


def adapter_key(job: Job) -> str:
    """What decides the adapter's bits, but for the machine's arithmetic."""
    teacher = {"teacher": job.teacher.digest} if job.teacher else {}
    return identity(
        "adapter",
        VERSIONS["adapter"],
        train=job.recipe.train,
        base=job.base.digest,
        splits=job.splits.digest,
        prompt=job.prompt_sha256,
        seed=job.settings.seed,
        **teacher,
    )


def merged_key(job: Job, trained: Stored[Trained]) -> str:
    """What decides the merged model's bits."""
    return identity(
        "merged",
        VERSIONS["merged"],
        adapter=trained.digest,
        base=job.base.digest,
        prompt=job.prompt_sha256,
        origins=origins(job),
        escalation=job.recipe.evaluate.escalation,
    )


def quantized_key(job: Job, merged: Stored[Artifact], scheme: Quantize) -> str:
    """What decides a quantized model's bits; the seed draws its calibration rows."""
    return identity(
        "quantized",
        VERSIONS["quantized"],
        merged=merged.digest,
        origins=merged.record.origins,
        scheme=scheme,
        splits=job.splits.digest,
        escalation=job.recipe.evaluate.escalation,
        seed=job.settings.seed,
    )


def parity_key(
    job: Job, scheme: Quantize, adapter: Stored[Trained], merged: Stored[Artifact], artifact: Stored[Artifact]
) -> str:
    """What decides the outcome of the checks between training and one artifact."""
    return identity(
        "parity",
        VERSIONS["parity"],
        adapter=adapter.digest,
        merged=merged.digest,
        artifact=artifact.digest,
        made_from=artifact.record.made_from,
        base=job.base.digest,
        splits=job.splits.digest,
        prompt=job.prompt_sha256,
        bound=scheme.shift_bound,
        seed=job.settings.seed,
    )
