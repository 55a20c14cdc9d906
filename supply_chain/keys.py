"""Identities of heavy stages, computable without the libraries that do the work.

Raise a stage's version when its code would make something else from the same inputs.
"""

from supply_chain.identity import identity
from supply_chain.job import Job
from supply_chain.lineage import origins
from supply_chain.recipe.part import Part
from supply_chain.recipe.quantize import Quantize
from supply_chain.records import Artifact, Trained
from supply_chain.store import Stored

VERSIONS = {"adapter": 4, "merged": 5, "quantized": 5}


def adapter_key(job: Job) -> str:
    """What decides the adapter's bits, but for the machine's arithmetic."""
    teacher = {"teacher": job.teacher.digest} if job.teacher else {}
    succession = job.splits.record.succession
    champion = {"champion": succession.champion} if succession and succession.champion else {}
    return identity(
        "adapter",
        VERSIONS["adapter"],
        train=_decided(job.recipe.train),
        base=job.base.digest,
        splits=job.splits.digest,
        prompt=job.prompt_sha256,
        seed=job.settings.seed,
        **teacher,
        **champion,
    )


def _decided(train: Part) -> dict[str, object]:
    """A train block without the parts that it leaves out, and that came later than results still in use."""
    return {
        name: value
        for name, value in train.model_dump(mode="json").items()
        if value is not None or name not in {"continual", "corrections"}
    }


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
