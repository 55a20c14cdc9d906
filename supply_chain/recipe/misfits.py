"""What a recipe asks for that its task cannot give."""

from supply_chain.recipe.data import Task
from supply_chain.recipe.evaluate import Evaluate
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
    if task != "classification" and "tfidf" in rivals:
        found.append(f"tfidf (evaluate.baselines, promote.beats) answers classification only, not {task}")
    return found
