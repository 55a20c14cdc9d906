"""What a student's recipe and its teacher's must agree on, found before anything is downloaded."""

from pathlib import Path
from typing import Any

from pydantic import TypeAdapter, ValidationError

from supply_chain.errors import InvalidInput
from supply_chain.recipe.data import DataSpec, Task
from supply_chain.recipe.distill import DistillTrain, OnPolicyObjective, SequenceObjective
from supply_chain.recipe.endpoint import closed_to
from supply_chain.recipe.files import find_recipes, parse
from supply_chain.recipe.part import Surroundings
from supply_chain.recipe.preference import PreferenceTrain, start_of
from supply_chain.recipe.prompt import PlainPrompt, Prompt

_COMPARED: tuple[Task, ...] = ("classification", "multilabel", "extraction")
"""Tasks whose answers are the same or not."""


def teacher_faults(
    name: str, task: Task, base: str, prompt: Prompt, train: DistillTrain, around: Surroundings | None
) -> list[str]:
    """Everything that keeps this teacher from teaching this student."""
    faults, teacher = _form_faults(task, train), train.teacher
    if teacher.endpoint is not None:
        return faults
    if around is None:
        return faults + (_cut_faults(base, teacher.base, train) if teacher.base else [])
    if teacher.base is None:
        return faults + (_recipe_faults(name, task, base, prompt, train, around) if around.recipes else [])
    if teacher.base not in around.bases:
        return [*faults, f"train.teacher.base: unknown base model {teacher.base!r}; known: {', '.join(around.bases)}"]
    return faults + _cut_faults(base, teacher.base, train) + _token_faults(base, teacher.base, train, around)


def endpoint_faults(data: DataSpec, train: DistillTrain) -> list[str]:
    """What a teacher behind an endpoint cannot give, and what must not be sent to it."""
    endpoint, objective = train.teacher.endpoint, train.objective
    if endpoint is None:
        return []
    faults = closed_to(endpoint, data.sensitivity, data.zone)
    if not isinstance(objective, SequenceObjective):
        faults.append("train.objective: an endpoint gives answers, no distributions: set objective: {kind: sequence}")
    elif objective.confidence and endpoint.samples == 1:
        faults.append(
            "train.objective.confidence needs several answers a row: set train.teacher.endpoint.samples: 5 "
            "(and temperature: 0.7)"
        )
    if train.student is not None:
        faults.append("train.student: no layers can be cut from a model behind an endpoint: leave student out")
    return faults


def start_faults(name: str, task: Task, base: str, train: PreferenceTrain, around: Surroundings | None) -> list[str]:
    """Everything that keeps a preference recipe from training on another recipe's weights."""
    if task not in _COMPARED:
        return [f"train.method preference does not train {task}"]
    if around is None or around.recipes is None or train.start is None:
        return []
    found = _read(around.recipes, train.start)
    if found is None:
        known = [path.stem for path in find_recipes(around.recipes)]
        return [f"train.start: no recipe {train.start!r}; known: {', '.join(known)}"]
    faults = []
    if (other := found.get("base")) != base:
        faults.append(f"train.start: {train.start} is made of {other}, this recipe's base is {base}: set base: {other}")
    if (its_task := found.get("task", "classification")) != task:
        faults.append(f"train.start: {train.start} is for {its_task}, this recipe for {task}")
    if its_task == "classification" and _has_head(found):
        faults.append(
            f"train.start: {train.start} answers with a head and writes nothing to prefer: start from a recipe of "
            "method lora, qlora or full"
        )
    return faults + _circle(name, found, around.recipes, "train.start")


def _circle(name: str, found: dict[str, Any] | None, folder: Path, where: str) -> list[str]:
    line = [name]
    while found is not None:
        line.append(str(found.get("name")))
        if line[-1] in line[:-1]:
            return [f"{where}: {' is taught by '.join(line)}: a circle"]
        above = _taught_by(found)
        found = _read(folder, str(above)) if above else None
    return []


def _form_faults(task: Task, train: DistillTrain) -> list[str]:
    if task not in _COMPARED and train.teacher.endpoint is not None:
        return [f"train.teacher.endpoint: a teacher behind an endpoint does not teach {task}"]
    if task not in _COMPARED and isinstance(train.objective, SequenceObjective):
        return [f"train.objective sequence compares answers, task is {task}: take kind: logits or on_policy"]
    if task != "classification" and train.answers == "head":
        return [f"train.answers: a head answers with one label of classification, task is {task}: leave answers out"]
    return _on_policy_faults(train) if isinstance(train.objective, OnPolicyObjective) else []


def _on_policy_faults(train: DistillTrain) -> list[str]:
    faults = []
    if train.answers == "head":
        faults.append("train.objective on_policy needs a student that writes, not one with a head: set answers: words")
    if train.top_layers is not None:
        faults.append("train.top_layers keeps the states of given texts, on_policy writes new ones: leave it out")
    if train.label_smoothing:
        faults.append("train.label_smoothing smooths the truth, which on_policy does not learn: leave it out")
    return faults


def _recipe_faults(
    name: str, task: Task, base: str, prompt: Prompt, train: DistillTrain, around: Surroundings
) -> list[str]:
    folder, teacher = around.recipes, str(train.teacher.recipe)
    assert folder is not None
    found = _read(folder, teacher)
    if found is None:
        known = [path.stem for path in find_recipes(folder)]
        return [f"train.teacher.recipe: no recipe {teacher!r}; known: {', '.join(known)}"]
    taught_by, its_task = str(found.get("base")), found.get("task", "classification")
    faults = _cut_faults(base, taught_by, train) + _token_faults(base, taught_by, train, around)
    if its_task != task:
        faults.append(f"train.teacher.recipe: {teacher} is for {its_task}, this recipe for {task}")
    needs_words = not isinstance(train.objective, SequenceObjective) or train.student is not None
    if train.answers == "words" and needs_words and its_task == task == "classification" and _has_head(found):
        faults.append(
            f"train.answers words: {teacher} answers with a head and has no words to teach: take answers: head, a "
            "teacher of method lora or full, or objective: {kind: sequence} without student"
        )
    if isinstance(train.objective, OnPolicyObjective) and _prompt_of(found) not in (prompt, None):
        faults.append(
            f"train.objective on_policy: {teacher} is asked with another prompt, and both read what the student "
            f"writes after it: give this recipe the prompt of {teacher}"
        )
    return faults + _circle(name, found, folder, "train.teacher.recipe")


def _cut_faults(base: str, taught_by: str, train: DistillTrain) -> list[str]:
    if train.student is None or base == taught_by:
        return []
    return [
        f"train.student: layers cut from the teacher read its vocabulary ({taught_by}), this recipe's base is {base}: "
        f"set base to {taught_by}, or leave student out to teach {base} as it is (labels fit any vocabulary)"
    ]


def _token_faults(base: str, taught_by: str, train: DistillTrain, around: Surroundings) -> list[str]:
    if train.answers == "head" or isinstance(train.objective, SequenceObjective):
        return []
    mine, its = (around.vocabularies.get(name, name) for name in (base, taught_by))
    if mine == its:
        return []
    same = [name for name in around.bases if around.vocabularies.get(name, name) == mine and name != base]
    return [
        f"train.objective {train.objective.kind}: {base} reads the vocabulary {mine}, its teacher {taught_by} reads "
        f"{its} (`vocabulary` in base_models.yaml), so no token's probability means the same to both. Take objective: "
        "{kind: sequence}, which fits any two"
        + (f", or a teacher made of {' or '.join(same)}" if same else "")
        + "; TRL's GOLDTrainer (trl.experimental.gold) aligns vocabularies, outside of this chain"
    ]


def _has_head(recipe: dict[str, Any]) -> bool:
    train = recipe.get("train", {})
    return train.get("method") == "head" or (train.get("method") == "distill" and train.get("answers") != "words")


def _prompt_of(recipe: dict[str, Any]) -> Prompt | None:
    """None where it is at fault itself."""
    try:
        return TypeAdapter[Prompt](Prompt).validate_python(recipe.get("prompt", PlainPrompt()))
    except ValidationError:
        return None


def _read(folder: Path, name: str) -> dict[str, Any] | None:
    """A recipe as far as it can be read; its own faults are told where it is loaded."""
    path = next((path for path in find_recipes(folder) if path.stem == name), None)
    try:
        data = parse(path)[1] if path else None
    except InvalidInput:
        return None
    return data if isinstance(data, dict) and isinstance(data.get("train", {}), dict) else None


def _taught_by(recipe: dict[str, Any]) -> Any:
    train = recipe.get("train", {})
    teacher = train.get("teacher")
    return teacher.get("recipe") if isinstance(teacher, dict) else start_of(train)
