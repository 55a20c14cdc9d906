"""What a specialist is made from. Licence, sensitivity and zone travel with the weights."""

from supply_chain.job import Job
from supply_chain.records import Origin


def origins(job: Job) -> list[Origin]:
    """The base model and the data of a job."""
    base, data = job.base.record, job.splits.record
    told = {"license": data.license, "sensitivity": data.sensitivity, "zone": data.zone}
    return [
        Origin(role="base", name=base.name, license=base.license),
        Origin.model_validate({"role": "data", "name": job.recipe.name, **told}),
    ]
