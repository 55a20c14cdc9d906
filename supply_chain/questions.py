"""What a teacher behind an endpoint is asked, and how its replies are read."""

import json
from collections import Counter
from collections.abc import Callable, Sequence
from typing import Any, NoReturn

from supply_chain.identity import canonical_json
from supply_chain.recipe.data import Task
from supply_chain.recipe.endpoint import Endpoint
from supply_chain.verdicts import Verdict

Messages = list[dict[str, str]]


def _no_number(name: str) -> NoReturn:
    raise ValueError(f"{name} is no JSON")


_JSON = json.JSONDecoder(parse_constant=_no_number)


def messages_of(endpoint: Endpoint, task: Task, labels: Sequence[str], text: str) -> Messages:
    """What is sent for one text: the instruction, the labels and the form of an answer; then the text.

    Texts to be written have no form: the instruction alone says what is wanted.
    """
    if task == "generation":
        return [{"role": "system", "content": endpoint.instruction or ""}, {"role": "user", "content": text}]
    names = canonical_json(list(labels))
    form = {
        "classification": f"Answer with one of these labels and nothing else: {names}",
        "multilabel": f"Answer with a JSON list of the labels that fit and nothing else. Labels: {names}",
        "extraction": "Answer with a JSON object of the fields that the text holds, each value as it stands in the "
        f"text, and nothing else. Fields: {names}",
    }[task]
    system = f"{endpoint.instruction}\n{form}" if endpoint.instruction else form
    return [{"role": "system", "content": system}, {"role": "user", "content": text}]


def reader(task: Task, labels: Sequence[str]) -> Callable[[str], str]:
    """Reads a reply as an answer in the canonical form of `Example.label`; empty where it holds none."""
    if task == "generation":
        return str.strip
    folded = {label.casefold(): label for label in labels} if len({n.casefold() for n in labels}) == len(labels) else {}

    def label(text: str) -> str:
        bare = text.strip().strip("\"'`*").strip()
        forms = (bare, bare.rstrip(".").strip("\"'`*"))
        exact = next((form for form in forms if form in labels), None)
        return exact or next((folded[form.casefold()] for form in forms if form.casefold() in folded), "")

    def value(text: str) -> str:
        start = min((i for i in (text.find("{"), text.find("[")) if i >= 0), default=-1)
        try:
            found: Any = _JSON.raw_decode(text, start)[0] if start >= 0 else None
        except (ValueError, RecursionError):
            return ""
        if task == "multilabel" and isinstance(found, list) and found and all(name in labels for name in found):
            return canonical_json(sorted(set(found)))
        if task == "extraction" and isinstance(found, dict):
            given = {name: one for name, one in found.items() if one not in (None, "")}
            flat = all(isinstance(one, str | int | float | bool | list) for one in given.values())
            return canonical_json(given) if given and flat and given.keys() <= set(labels) else ""
        return ""

    return label if task == "classification" else value


def majority(answers: Sequence[str]) -> Verdict:
    """The most frequent answer (of equals the one given first) and its share of all, unreadable ones included."""
    counts = Counter(answer for answer in answers if answer)
    if not counts:
        return Verdict("", 0.0)
    answer, times = counts.most_common(1)[0]
    return Verdict(answer, times / len(answers))
