"""What a student's recipe and its teacher's must agree on, found before anything is downloaded."""

from pathlib import Path
from typing import Any

from supply_chain.errors import InvalidInput
from supply_chain.recipe.data import DataSpec, Task
from supply_chain.recipe.distill import DistillTrain, LogitsObjective
from supply_chain.recipe.endpoint import closed_to
from supply_chain.recipe.files import find_recipes, parse
from supply_chain.recipe.part import Surroundings
from supply_chain.recipe.tasks import METRICS


def teacher_faults(name: str, task: Task, base: str, train: DistillTrain, around: Surroundings | None) -> list[str]:
    """Everything that keeps this teacher from teaching this student."""
    faults, teacher = _form_faults(task, train), train.teacher
    if teacher.endpoint is not None:
        return faults
    if around is None:
        return faults + (_cut_faults(base, teacher.base, train) if teacher.base else [])
    if teacher.base is not None:
        unknown = f"train.teacher.base: unknown base model {teacher.base!r}; known: {', '.join(around.bases)}"
        return faults + (_cut_faults(base, teacher.base, train) if teacher.base in around.bases else [unknown])
    return faults + (_recipe_faults(name, base, train, around.recipes) if around.recipes else [])


def endpoint_faults(data: DataSpec, train: DistillTrain) -> list[str]:
    """What a teacher behind an endpoint cannot give, and what must not be sent to it."""
    endpoint, objective = train.teacher.endpoint, train.objective
    if endpoint is None:
        return []
    faults = closed_to(endpoint, data.sensitivity, data.zone)
    if isinstance(objective, LogitsObjective):
        faults.append("train.objective: an endpoint gives answers, no distributions: set objective: {kind: sequence}")
    elif objective.confidence and endpoint.samples == 1:
        faults.append(
            "train.objective.confidence needs several answers a row: set train.teacher.endpoint.samples: 5 "
            "(and temperature: 0.7)"
        )
    if train.student is not None:
        faults.append("train.student: no layers can be cut from a model behind an endpoint: leave student out")
    return faults


def _form_faults(task: Task, train: DistillTrain) -> list[str]:
    if not METRICS[task]:
        return [f"train.method distill does not teach {task}"]
    if task != "classification" and train.teacher.endpoint is None:
        return [f"train.teacher: a recipe or base teaches labels of classification, task is {task}: take an endpoint"]
    if task != "classification" and train.answers == "head":
        return [f"train.answers: a head answers with one label of classification, task is {task}: leave answers out"]
    if train.answers == "words" and isinstance(train.objective, LogitsObjective):
        return ["train.objective logits needs answers: head; a student that writes takes objective: {kind: sequence}"]
    return []


def _recipe_faults(name: str, base: str, train: DistillTrain, folder: Path) -> list[str]:
    teacher = str(train.teacher.recipe)
    found = _read(folder, teacher)
    if found is None:
        known = [path.stem for path in find_recipes(folder)]
        return [f"train.teacher.recipe: no recipe {teacher!r}; known: {', '.join(known)}"]
    faults = _cut_faults(base, str(found.get("base")), train)
    if found.get("task", "classification") != "classification":
        faults.append(f"train.teacher.recipe: {teacher} is for {found['task']}, this recipe for classification")
    line = [name]
    while found is not None:
        line.append(str(found.get("name")))
        if line[-1] in line[:-1]:
            return [*faults, f"train.teacher.recipe: {' is taught by '.join(line)}: a circle"]
        above = _taught_by(found)
        found = _read(folder, str(above)) if above else None
    return faults


def _cut_faults(base: str, taught_by: str, train: DistillTrain) -> list[str]:
    if train.student is None or base == taught_by:
        return []
    return [
        f"train.student: layers cut from the teacher read its vocabulary ({taught_by}), this recipe's base is {base}: "
        f"set base to {taught_by}, or leave student out to teach {base} as it is (labels fit any vocabulary)"
    ]


def _read(folder: Path, name: str) -> dict[str, Any] | None:
    """A recipe as far as it can be read; its own faults are told where it is loaded."""
    path = next((path for path in find_recipes(folder) if path.stem == name), None)
    try:
        data = parse(path)[1] if path else None
    except InvalidInput:
        return None
    return data if isinstance(data, dict) and isinstance(data.get("train", {}), dict) else None


def _taught_by(recipe: dict[str, Any]) -> Any:
    teacher = recipe.get("train", {}).get("teacher")
    return teacher.get("recipe") if isinstance(teacher, dict) else None
