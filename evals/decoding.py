"""The recipe's metric, for choosing how an artifact writes."""

from collections.abc import Sequence

from evals.estimates import Estimate
from supply_chain.job import Job
from supply_chain.records import Example


def measured(job: Job, rows: Sequence[Example], answers: Sequence[str]) -> Estimate:
    """`evaluate.metric` of answers, one a row, as the scorecard takes it. Raises InvalidInput for rows of one group."""
    from evals.scorecard import bench_of  # noqa: PLC0415 (scipy: a second that other stages do without)

    return bench_of(job.recipe, job.labels, rows, job.settings.seed).estimate(job.recipe.evaluate.metric, answers)
