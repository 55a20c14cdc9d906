"""What a specialist is made from. Licence, sensitivity and zone travel with the weights."""

from supply_chain.job import Job
from supply_chain.recipe.distill import DistillTrain
from supply_chain.records import Artifact, Origin
from supply_chain.succession import predecessors


def origins(job: Job) -> list[Origin]:
    """The base model and the data of a job, and all that its teacher and the champion before were made from."""
    base, data = job.base.record, job.splits.record
    told = {"license": data.license, "sensitivity": data.sensitivity, "zone": data.zone}
    return [
        Origin(role="base", name=base.name, license=base.license),
        Origin.model_validate({"role": "data", "name": job.recipe.name, **told}),
        *_taught(job),
        *_continued(job),
    ]


def _taught(job: Job) -> list[Origin]:
    train = job.recipe.train
    if isinstance(train, DistillTrain) and train.teacher.endpoint is not None:
        return [Origin(role="teacher", name=train.teacher.endpoint.model, license=train.teacher.endpoint.license)]
    if job.teacher is None:
        return []
    teacher = job.teacher.record
    if isinstance(teacher, Artifact):
        return [origin.model_copy(update={"role": "teacher"}) for origin in teacher.origins]
    return [Origin(role="teacher", name=teacher.name, license=teacher.license)]


def _continued(job: Job) -> list[Origin]:
    champion = next(predecessors(job.splits, job.store), None)
    found = champion.artifact.record.origins if champion else []
    return list(dict.fromkeys(origin.model_copy(update={"role": "champion"}) for origin in found))
