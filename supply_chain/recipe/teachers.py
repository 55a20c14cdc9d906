"""What a student's recipe and its teacher's must agree on, found before anything is downloaded."""

from pathlib import Path
from typing import Any

from supply_chain.errors import InvalidInput
from supply_chain.recipe.distill import DistillTrain
from supply_chain.recipe.files import find_recipes, parse
from supply_chain.recipe.part import Surroundings


def teacher_faults(name: str, task: str, base: str, train: DistillTrain, around: Surroundings | None) -> list[str]:
    """Everything that keeps this teacher from teaching this student."""
    if task != "classification":
        return [f"train.method distill teaches labels of classification, task is {task}"]
    teacher = train.teacher
    if around is None:
        return _cut_faults(base, teacher.base, train) if teacher.base else []
    if teacher.base is not None:
        unknown = f"train.teacher.base: unknown base model {teacher.base!r}; known: {', '.join(around.bases)}"
        return _cut_faults(base, teacher.base, train) if teacher.base in around.bases else [unknown]
    return _recipe_faults(name, base, train, around.recipes) if around.recipes else []


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
