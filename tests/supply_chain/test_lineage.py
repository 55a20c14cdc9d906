"""A student is bound by what its teacher was made from."""

import dataclasses
from pathlib import Path

from supply_chain.lineage import origins
from supply_chain.recipe import Recipe
from supply_chain.records import Artifact, Splits
from supply_chain.store import Stored
from tests.registry.evidence import ORIGINS, store_artifact
from tests.supply_chain.test_training import make_job


def test_a_teachers_origins_are_the_students(
    tmp_path: Path, tiny_model: Path, tiny_recipe: Recipe, tiny_splits: Stored[Splits]
) -> None:
    job = make_job(tmp_path, tiny_model, tiny_recipe, tiny_splits)
    own = [origin.role for origin in origins(job)]
    teacher: Stored[Artifact] = store_artifact(tiny_recipe, job.store)
    taught = origins(dataclasses.replace(job, teacher=teacher))
    assert own == ["base", "data"]
    assert [(o.role, o.name, o.license) for o in taught[2:]] == [("teacher", o.name, o.license) for o in ORIGINS]
    base = origins(dataclasses.replace(job, teacher=job.base))[2:]
    assert [(o.role, o.license) for o in base] == [("teacher", job.base.record.license)]
