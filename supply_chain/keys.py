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

VERSIONS = {"search": 1, "adapter": 5, "merged": 7, "quantized": 7, "parity": 1, "unmerged": 1}


def adapter_key(job: Job) -> str:
    """What decides the adapter's bits, but for the machine's arithmetic."""
    teacher = {"teacher": job.teacher.digest} if job.teacher else {}
    train = job.recipe.train
    if isinstance(train, PreferenceTrain) and isinstance(train.pairs, PairsFile):
        teacher["pairs"] = file_sha256(job.settings.root / train.pairs.path)
    succession = job.splits.record.succession
    champion = {"champion": succession.champion} if succession and succession.champion else {}
    return identity(
        "adapter",
        VERSIONS["adapter"],
        train=_deciding(train),
        base=job.base.digest,
        splits=job.splits.digest,
        prompt=job.prompt_sha256,
        seed=job.settings.seed,
        **teacher,
        **champion,
    )


def search_key(job: Job) -> str:
    """What decides a search's trials, but for the machine's arithmetic and, with a budget in minutes, its speed."""
    return identity("search", VERSIONS["search"], study=study_key(job), search=job.recipe.search)


def study_key(job: Job) -> str:
    """What decides the outcome of each trial; a search with another budget goes on with the same trials."""
    assert job.recipe.search is not None
    rules = job.recipe.search.model_dump(mode="json", exclude={"trials", "minutes"})
    return identity("study", VERSIONS["search"], rules=rules, metric=job.recipe.evaluate.metric, start=adapter_key(job))


def _deciding(train: Train) -> dict[str, object]:
    """What decides the weights: prices and pace of an endpoint do not."""
    told = train.model_dump(mode="json")
    if isinstance(train, DistillTrain) and train.teacher.endpoint is not None:
        told["teacher"] = {"endpoint": train.teacher.endpoint.deciding}
    return told


def merged_key(job: Job, trained: Stored[Trained]) -> str:
    """What decides the merged model's bits."""
    return identity(
        "merged",
        VERSIONS["merged"],
        adapter=trained.digest,
        base=job.base.digest,
        prompt=job.prompt_sha256,
        origins=origins(job),
        escalation=_promise(job),
        **_decoding(job),
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
        escalation=_promise(job),
        seed=job.settings.seed,
        **_decoding(job),
    )


def _decoding(job: Job) -> dict[str, object]:
    """What decides how an artifact writes; nothing where nothing is chosen."""
    spec = job.recipe.evaluate
    if spec.decoding is None:
        return {}
    return {"decoding": {"grid": spec.decoding, "metric": spec.metric, "resamples": spec.resamples}}


def unmerged_key(trained: Stored[Trained], merged: Stored[Artifact]) -> str:
    """What decides the adapter's own artifact; the merged model tells of base, prompt, calibration and promise."""
    return identity("unmerged", VERSIONS["unmerged"], adapter=trained.digest, merged=merged.digest)


def _promise(job: Job) -> object:
    """What decides which answers an artifact passes on: the risk, and the prices that its thresholds are weighed by."""
    spec = job.recipe.evaluate
    if spec.escalation is None:
        return None
    kpis = spec.kpis.model_dump(include={"mistake_usd", "mistakes", "escalation_usd", "generalist_usd_per_1k"})
    return {"risk": spec.escalation, "prices": kpis}


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
        base=job.start.digest,
        splits=job.splits.digest,
        prompt=job.prompt_sha256,
        bound=scheme.shift_bound,
        seed=job.settings.seed,
    )
