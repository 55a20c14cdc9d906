"""A run that stops in the middle of a later epoch goes on with the rows that were still to come."""

from pathlib import Path

import pytest

from supply_chain.recipe import Recipe
from supply_chain.records import Splits
from supply_chain.store import Stored
from supply_chain.tracking import NoTracker
from supply_chain.training import train
from tests.supply_chain.test_training import make_job, tracker


class Stopped(Exception):
    """Ends a run."""


class StopAt(NoTracker):
    """Ends a run at a step."""

    def metrics(self, values: dict[str, float], step: int) -> None:
        if step == 8:
            raise Stopped


def test_resuming_in_the_middle_of_an_epoch_gives_the_same_bits(
    tmp_path: Path, tiny_model: Path, tiny_recipe: Recipe, tiny_splits: Stored[Splits]
) -> None:
    loop = {"max_steps": 10, "checkpoint_steps": 7, "batch_size": 48}  # 81 rows: two steps an epoch
    whole = train(make_job(tmp_path / "one", tiny_model, tiny_recipe, tiny_splits, **loop), tracker)
    job = make_job(tmp_path / "two", tiny_model, tiny_recipe, tiny_splits, **loop)
    with pytest.raises(Stopped):
        train(job, lambda key: StopAt())
    resumed = train(job, tracker)
    assert resumed.record.losses == whole.record.losses
    assert resumed.files == whole.files
