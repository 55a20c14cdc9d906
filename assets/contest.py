"""Who takes part in a recipe's evaluation, and where each one's bytes are."""

from typing import Any

from assets.launch import Workshop
from evals.choice import choose
from evals.forgetting import remembered
from evals.generalist import ask_generalist
from evals.keys import baseline_key, model_key
from evals.recall import Recall, recall_key
from evals.records import Forgetting
from evals.stock_run import StockRun, ready, stock_key
from registry.release import Incumbent, champions_before, incumbent
from supply_chain.errors import EvidenceMismatch
from supply_chain.job import Job
from supply_chain.records import Artifact, Parity, Predictions, Splits
from supply_chain.store import Store, Stored


def contestants(
    job: Job,
    merged: Stored[Artifact],
    artifacts: list[Stored[Artifact]],
    parity: list[Stored[Parity]],
    shop: Workshop,
) -> list[Stored[Predictions]]:
    """Answers of baselines, generalist (if any), untuned base, specialist, every format and champion (if any).

    The champion answers the same rows as the candidate, even when the data has changed since. Raises
    EvidenceMismatch when its bytes are gone, or when a format's parity was not checked.
    """
    unchecked = {a.digest for a in artifacts} - {p.record.artifact_digest for p in parity}
    if unchecked:
        raise EvidenceMismatch(
            f"artifact {min(unchecked)[:12]} was not compared with the training: materialize parity, then go on"
        )
    answers = [_baseline(name, job, shop) for name in job.recipe.evaluate.baselines]
    if job.recipe.evaluate.generalist is not None:
        answers.append(ask_generalist(job, job.recipe.evaluate.generalist.endpoint))
    models: dict[str, Stored[Any]] = {"base": job.base, "specialist": merged}
    models |= {stored.record.format: stored for stored in artifacts}
    answers += [_model(name, model, job, shop) for name, model in models.items()]
    chosen = choose(job.recipe, job.splits, answers, job.settings.seed).contestant
    rival = incumbent(job.recipe.name, models[chosen].digest, job.settings)
    if rival is not None:
        answers.append(_model("champion", weights_of(rival, job.recipe.name, job.store), job, shop))
    return answers


def memory(job: Job, candidate: Stored[Artifact], shop: Workshop) -> Stored[Forgetting]:
    """What the candidate and the champions before it know of earlier test sets."""
    former = champions_before(job.recipe.name, candidate.digest, job.settings)
    found = {one.version: job.store.find(Artifact, one.artifact_key) for one in former}

    def recalls(model: Stored[Artifact], splits: Stored[Splits]) -> Stored[Recall]:
        return shop.make(Recall, recall_key(model, splits), "recall", {"model": model, "splits": splits}, {})

    return remembered(found, candidate, job.splits, recalls, job.settings.seed, job.store)


def stock_runs(job: Job, candidate: Stored[Artifact], shop: Workshop) -> list[Stored[StockRun]]:
    """lm-eval's tasks asked of the candidate, and of the base that it was made from."""
    tasks, options = ready(job.recipe.evaluate.tasks, job.settings), {"recipe": job.recipe.model_dump(mode="json")}

    def run(model: Stored[Any]) -> Stored[StockRun]:
        key = stock_key(model.digest, tasks, job.settings.seed)
        return shop.make(StockRun, key, "stock", {"model": model}, options)

    return [run(candidate), run(job.base)]


def weights_of(rival: Incumbent, name: str, store: Store) -> Stored[Artifact]:
    """A champion's stored weights. Raises EvidenceMismatch when its bytes are gone."""
    found = store.find(Artifact, rival.artifact_key)
    if found is None or found.digest != rival.artifact_digest:
        raise EvidenceMismatch(
            f"{name} version {rival.version} is champion, but its bytes ({rival.artifact_digest[:12]}) "
            "are not in the store, so that nothing can be compared with it or go on from it: restore the store"
        )
    return found


def _baseline(name: str, job: Job, shop: Workshop) -> Stored[Predictions]:
    return shop.make(Predictions, baseline_key(name, job), "baseline", _inputs(job), _options(name, job))


def _model(name: str, model: Stored[Any], job: Job, shop: Workshop) -> Stored[Predictions]:
    key = model_key(name, model.digest, job)
    return shop.make(Predictions, key, "model", {**_inputs(job), "model": model}, _options(name, job))


def _inputs(job: Job) -> dict[str, Stored[Any]]:
    return {"base": job.base, "splits": job.splits}


def _options(contestant: str, job: Job) -> dict[str, Any]:
    return {"contestant": contestant, "recipe": job.recipe.model_dump(mode="json")}
