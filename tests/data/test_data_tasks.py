"""The targets of each task, in one canonical form."""

import json

import pytest
from data_project import kept, rejected, sentence
from pydantic import ValidationError

from supply_chain.recipe import find_recipes, load_recipe
from supply_chain.recipe.part import Surroundings
from supply_chain.settings import PROJECT


def test_multilabel_from_lists_and_from_separated_text(project):
    rows = [{"text": sentence(n), "label": ["b", "a", "b"] if n % 2 else ["c"]} for n in range(40)]
    made = project.curate(project.write("d.jsonl", rows), task="multilabel")
    assert {e.label for e in kept(made)} == {'["a","b"]', '["c"]'}
    assert made.record.labels == ["a", "b", "c"]
    joined = [{"text": sentence(n), "label": "x; y" if n else ""} for n in range(40)]
    named = project.curate(project.write("s.jsonl", joined), task="multilabel", label={"separator": ";"})
    assert named.record.labels == ["x", "y"]
    assert [(r.reason, r.line) for r in rejected(named)] == [("unknown_label", 1)]
    assert project.split(named).record.rows["test"] == {"x": 8, "y": 8}


def test_extraction_fields_are_canonical_json(project):
    rows = [{"text": sentence(n), "label": {"z": "1", "a": "2", "none": None}} for n in range(20)]
    rows[3]["label"] = "not JSON"
    rows[4]["label"] = {"nested": {"deep": 1}}
    made = project.curate(project.write("d.jsonl", rows), task="extraction")
    assert {e.label for e in kept(made)} == {'{"a":"2","z":"1"}'}
    assert made.record.labels == ["a", "z"]
    assert [(r.reason, r.line) for r in rejected(made)] == [("unknown_label", 4), ("unknown_label", 5)]


def test_generation_takes_prompts_or_chat_messages(project):
    def chat(n):
        return [{"role": "user", "content": sentence(n)}, {"role": "assistant", "content": f"answer {n}"}]

    rows = [{"messages": chat(n)} for n in range(20)] + [{"messages": chat(21)[:1]}, {"messages": chat(0)[::-1]}]
    made = project.curate(project.write("d.jsonl", rows), task="generation", text="messages")
    assert (kept(made)[2].text, kept(made)[2].label) == (sentence(2), "answer 2")
    assert [(r.reason, r.line) for r in rejected(made)] == [("not_text", 21), ("not_text", 22)]
    assert made.record.labels == []
    longer = [{"messages": [{"role": "system", "content": "be brief"}, *chat(n)]} for n in range(20)]
    made = project.curate(project.write("l.jsonl", longer), task="generation", text="messages")
    assert [m["role"] for m in json.loads(kept(made)[0].text)] == ["system", "user"]


def test_every_recipe_loads_and_its_task_reaches_the_data():
    around = Surroundings(PROJECT, ("smollm2-135m-instruct",))
    recipes = {p.stem: load_recipe(p, around) for p in find_recipes(PROJECT / "recipes")}
    tasks = {name: recipe.data.task for name, recipe in recipes.items()}
    assert (tasks["review_sentiment"], tasks["us_addresses"]) == ("classification", "extraction")


def test_bins_need_classification(project):
    with pytest.raises(ValidationError, match=r"label\.bins.*need classification, not extraction"):
        project.spec("x.jsonl", task="extraction", label={"bins": [{"label": "a"}]})


def test_numbers_that_are_none_fit_no_bin(project):
    rows = [{"text": sentence(n), "label": n} for n in range(40)] + [{"text": sentence(99), "label": "nan"}]
    bins = [{"label": "low", "below": 20}, {"label": "high"}]
    made = project.curate(project.write("d.jsonl", rows), label={"bins": bins})
    assert [(r.reason, r.line) for r in rejected(made)] == [("unknown_label", 41)]
