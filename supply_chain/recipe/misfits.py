"""What a recipe asks for that its task cannot give."""

from collections.abc import Iterable, Sequence

from supply_chain.pricing import passed_on_usd
from supply_chain.recipe.data import DataSpec, Task
from supply_chain.recipe.endpoint import GENERALIST, JUDGE, closed_to
from supply_chain.recipe.evaluate import ROW_NAMES, Evaluate, SliceSpec
from supply_chain.recipe.expression import condition
from supply_chain.recipe.quantize import NATIVE
from supply_chain.recipe.tasks import METRICS


def misfits(task: Task, evaluate: Evaluate, beats: list[str]) -> list[str]:
    """A sentence for each."""
    found, rivals = [], {*evaluate.baselines, *beats}
    if evaluate.metric not in METRICS[task]:
        found.append(f"evaluate.metric is {evaluate.metric}; {task} is measured by {', '.join(METRICS[task])}")
    if task == "generation":
        strange = [name for name in evaluate.also if name not in METRICS[task]]
        found += [f"evaluate.also: {task} is not measured by {name}; by {', '.join(METRICS[task])}" for name in strange]
        if evaluate.escalation:
            found.append("evaluate.escalation needs answers that are right or wrong; generation writes texts")
    elif evaluate.also:
        found.append(f"evaluate.also is for generation; {task} is measured by {', '.join(METRICS[task])} anyway")
    if task != "classification" and evaluate.kpis.mistakes:
        found.append("evaluate.kpis.mistakes needs classification; a wrong answer costs mistake_usd")
    if task != "classification" and evaluate.out_of_scope is not None:
        found.append(f"evaluate.out_of_scope names a label of classification, task is {task}")
    if task != "generation":
        written = {"judge": "compares texts", "decoding": "tries ways of writing texts"}
        asked = [name for name in written if getattr(evaluate, name) is not None]
        found += [f"evaluate.{name} {written[name]}, so it needs generation, not {task}" for name in asked]
    if task != "classification" and evaluate.corrections is not None:
        found.append(f"evaluate.corrections holds labels of classification, task is {task}")
    kpis, escalation = evaluate.kpis, evaluate.escalation
    if escalation and escalation.choose == "cheapest" and passed_on_usd(kpis) is None:
        found.append(
            "evaluate.escalation.choose is cheapest, which needs evaluate.kpis.escalation_usd or generalist_usd_per_1k"
        )
    for name in ("tfidf", "static") if task != "classification" else ():
        if name in rivals:
            found.append(f"{name} (evaluate.baselines, promote.beats) answers classification only, not {task}")
    return found


def asked_faults(data: DataSpec, evaluate: Evaluate) -> list[str]:
    """What endpoints of the evaluation must not see, or cannot give."""
    found = []
    for one, place in ((evaluate.judge, JUDGE), (evaluate.generalist, GENERALIST)):
        if one is not None:
            found += closed_to(one.endpoint, data.sensitivity, data.zone, place)
            if one.endpoint.samples > 1:
                found.append(f"{place.part}.samples: a {place.noun} is asked once, as it stands; leave it out")
    if data.task == "generation" and evaluate.generalist is not None and not evaluate.generalist.endpoint.instruction:
        found.append(f"{GENERALIST.part}.instruction: say what is to be written")
    return found


def stock_faults(evaluate: Evaluate, gated: Iterable[str], headed: bool, served: Sequence[str]) -> list[str]:
    """What lm-eval's tasks cannot be asked of, and gates on tasks that are not asked.

    `served` holds the schemes of which one becomes the candidate.
    """
    names = [task.name for task in evaluate.tasks]
    found = [f"evaluate.tasks: {name} stands twice" for name in {*names} if names.count(name) > 1]
    if names and headed:
        found.append("evaluate.tasks are answered in words, and this recipe trains a head that has none")
    native = [scheme for scheme in served if scheme in NATIVE] if names else []
    found += [f"evaluate.tasks run on transformers' formats, and the candidate may be {one}" for one in native]
    for gate in gated:
        if gate.partition(".")[0] not in names:
            found.append(f"promote.tasks: {gate} names none of evaluate.tasks ({', '.join(names) or 'there are none'})")
    return found


def slice_faults(slices: list[SliceSpec], metadata: list[str]) -> list[str]:
    """Columns that a slice reads and `data.metadata` does not keep."""
    found = []
    for i, spec in enumerate(slices):
        columns = set(spec.metadata or {})
        columns |= (condition(spec.where)[1] if spec.where else set()) - ROW_NAMES
        missing = sorted(columns - set(metadata))
        if missing:
            known = ", ".join([*sorted(ROW_NAMES), *metadata])
            found.append(f"evaluate.slices.{i}: no {', '.join(missing)}; known: {known}. Name it in data.metadata")
    return found
