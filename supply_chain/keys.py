"""Identities of heavy stages, computable without the libraries that do the work.

Raise a stage's version when its code would make something else from the same inputs.
"""

from supply_chain.identity import file_sha256, identity
from supply_chain.job import Job
from supply_chain.lineage import origins
from supply_chain.recipe.distill import DistillTrain
from supply_chain.recipe.preference import PairsFile, PreferenceTrain
from supply_chain.recipe.quantize import Quantize
from supply_chain.recipe.schema import Train
from supply_chain.records import Artifact, Trained
from supply_chain.store import Stored

VERSIONS = {"adapter": 4, "merged": 5, "quantized": 5}


def adapter_key(job: Job) -> str:
    """What decides the adapter's bits, but for the machine's arithmetic."""
    teacher = {"teacher": job.teacher.digest} if job.teacher else {}
    train = job.recipe.train
    if isinstance(train, PreferenceTrain) and isinstance(train.pairs, PairsFile):
        teacher["pairs"] = file_sha256(job.settings.root / train.pairs.path)
    return identity(
        "adapter",
        VERSIONS["adapter"],
        train=_deciding(train),
        base=job.base.digest,
        splits=job.splits.digest,
        prompt=job.prompt_sha256,
        seed=job.settings.seed,
        **teacher,
    )


def _deciding(train: Train) -> object:
    """What decides the weights: prices and pace of an endpoint do not."""
    if not isinstance(train, DistillTrain) or train.teacher.endpoint is None:
        return train
    return {**train.model_dump(mode="json"), "teacher": {"endpoint": train.teacher.endpoint.deciding}}


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
