"""Identities of predictions, computable without the libraries that make them."""

from supply_chain.data.corrections import Corrections, stored_corrections
from supply_chain.data.source import locate
from supply_chain.identity import identity
from supply_chain.job import Job
from supply_chain.prompt import Renderer
from supply_chain.recipe import Recipe
from supply_chain.records import Splits
from supply_chain.store import Stored

VERSION = 2


def baseline_key(name: str, job: Job) -> str:
    """What decides a baseline's answers."""
    return answers_key(name, "", job.splits, job.recipe, job.settings.seed)


def model_key(contestant: str, model_digest: str, job: Job) -> str:
    """What decides a model's answers; its digest covers the tokenizer and its chat template."""
    mended = corrections_of(contestant, job)
    return answers_key(contestant, model_digest, job.splits, job.recipe, job.settings.seed, mended)


def corrections_of(contestant: str, job: Job) -> Stored[Corrections] | None:
    """The corrections that this contestant is asked: the candidate and the champion are. Raises InvalidInput."""
    source = job.recipe.evaluate.corrections
    if source is None or contestant not in {"champion", *(scheme.name for scheme in job.recipe.candidates)}:
        return None
    return stored_corrections(locate(source, job.settings.downloads, job.settings.root), job.store)


def answers_key(
    contestant: str,
    model_digest: str,
    splits: Stored[Splits],
    recipe: Recipe,
    seed: int,
    corrections: Stored[Corrections] | None = None,
) -> str:
    """What decides one contestant's answers and timings, but for the machine; baselines have no digest."""
    spec = recipe.evaluate
    rows: dict[str, object] = {
        "splits": splits.digest,
        "max_rows": spec.max_rows,
        "latency_rows": spec.latency_rows,
        "seed": seed,
    }
    if not model_digest:
        return identity("baseline", VERSION, name=contestant, **rows)
    prompt = Renderer(recipe.prompt, tuple(splits.record.labels), task=recipe.task).sha256
    if contestant == "base" and spec.shots:
        rows["shots"] = spec.shots
    if contestant in {scheme.name for scheme in recipe.candidates} and spec.perturbations:
        rows |= {"perturbations": spec.perturbations, "perturbed_rows": spec.perturbed_rows}
    if corrections is not None:
        rows["corrections"] = corrections.digest
    return identity("predictions", VERSION, contestant=contestant, model=model_digest, prompt=prompt, **rows)
