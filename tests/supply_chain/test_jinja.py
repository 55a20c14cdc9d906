"""A prompt's template arranges text, labels and shots, and can do nothing else."""

from pathlib import Path

import pytest
from pydantic import ValidationError

from supply_chain.artifacts import merge
from supply_chain.errors import InvalidInput, InvalidRecipe
from supply_chain.prompt import Renderer
from supply_chain.recipe import Recipe, load_recipe
from supply_chain.recipe.part import Surroundings
from supply_chain.recipe.prompt import JinjaPrompt, PlainPrompt
from supply_chain.records import Splits
from supply_chain.serving import Serving, read_serving
from supply_chain.store import Stored
from supply_chain.training import train
from tests.conftest import RECIPE, write_tiny_project
from tests.supply_chain.test_training import make_job, tracker

TEMPLATE = (
    "Labels: {{ labels|join(', ') }}\n"
    "{% for shot in shots %}{{ loop.index }}. {{ shot.text }} ={{ shot.label }}\n{% endfor %}"
    "{% if text|length > 20 %}Long. {% endif %}Text: {{ text }}\nLabel:"
)


def prompt(template: str = TEMPLATE, **more: object) -> JinjaPrompt:
    return JinjaPrompt.model_validate({"kind": "jinja", "template": template, **more})


def test_a_template_is_rendered_with_labels_as_the_model_writes_them() -> None:
    renderer = Renderer(prompt(answers={"b": "second"}), ("a", "b"), shots=(("x", "a"), ("y", "b")))
    assert renderer.context("hm") == "Labels: a, second\n1. x =a\n2. y =second\nText: hm\nLabel:"
    assert renderer.context("h" * 21).endswith("Long. Text: hhhhhhhhhhhhhhhhhhhhh\nLabel:")
    assert renderer.answers == (" a", " second")
    assert Renderer(prompt(before_answer=""), ("a",)).answers == ("a",)
    fields = Renderer(prompt(), ("zip",), task="extraction")
    assert fields.read(fields.answer('{"zip":"1"}')) == '{"zip":"1"}'


@pytest.mark.parametrize("text", ["{{ labels }}", "{% for x in y %}", "{# x #}", "{% raw %}", "<b>&amp;\r\n", ""])
def test_template_syntax_in_a_text_is_text(text: str) -> None:
    assert Renderer(prompt("[{{ text }}]"), ("a",)).context(text) == f"[{text}]"
    shown = Renderer(prompt(), ("a",), shots=((text, "a"),)).context("t")
    assert f"1. {text} =a" in shown


def test_the_template_is_part_of_the_prompts_identity_and_travels_with_the_artifact(tmp_path: Path) -> None:
    one, other = Renderer(prompt(), ("a", "b")), Renderer(prompt(TEMPLATE + " "), ("a", "b"))
    assert len({one.sha256, other.sha256, Renderer(PlainPrompt(), ("a", "b")).sha256}) == 3
    Serving(prompt=one.prompt, labels=["a", "b"], prompt_sha256=one.sha256).write(tmp_path)
    back = read_serving(tmp_path)
    assert Renderer(back.prompt, tuple(back.labels)).context("t") == one.context("t")
    assert Renderer(back.prompt, tuple(back.labels)).sha256 == back.prompt_sha256


@pytest.mark.parametrize(
    ("template", "fault"),
    [
        ("{{ text }", "not a Jinja template"),
        ("{% if text %}{{ text }}", "not a Jinja template"),
        ("Label:", "must put {{ text }} into the prompt as it is"),
        ("{{ text|upper }}", "must put {{ text }}"),
        ("{% if shots %}{{ text }}{% endif %}", "must put {{ text }}"),
        ("{{ text }}{{ txet }}", "unknown names: txet; a template may use text, labels, shots"),
        ("{{ text }}{{ range(9) }}", "line 1: Call cannot stand in a prompt"),
        ("{{ text }}{{ text.__class__ }}", "no attribute __class__"),
        ("{{ text }}{{ text['__class__'] }}", "Getitem cannot stand in a prompt"),
        ("{{ text }}{{ text|attr('__class__') }}", "no filter attr"),
        ("{{ text }}{{ text.format }}", "no attribute format"),
        ("{{ text }}{{ 'a' * 999999999 }}", "Mul cannot stand"),
        ("{{ text }}{{ 9 ** 9 ** 9 }}", "Pow cannot stand"),
        ("{{ text }}{{ '%999999999d' % 1 }}", "Mod cannot stand"),
        ("{{ text }}{{ '%999999999d'|format(1) }}", "no filter format"),
        ("{{ text }}{{ text|center(999999999) }}", "no filter center"),
        ("{{ text }}{{ text|indent(999999999) }}", "numbers or texts up to 100"),
        ("{{ text }}{{ text|join('" + "x" * 50 + "') }}", "join takes labels"),
        ("{{ text }}{{ labels|join(text) }}", "numbers or texts up to 100"),
        ("{{ text }}{{ text" + "|tojson" * 4 + " }}", "at most 3 filters in a row"),
        ("{% set x = text %}{{ x ~ x }}", "Assign cannot stand"),
        ("{% for a in labels %}{% for b in labels %}{% endfor %}{% endfor %}{{ text }}", "a loop cannot stand"),
        ("{% for c in text %}{{ c }}{% endfor %}{{ text }}", "a loop goes over labels or shots"),
        ("{% for a in labels recursive %}{% endfor %}{{ text }}", "a loop goes over"),
        ("{% include 'x' %}{{ text }}", "Include cannot stand"),
        ("{% import 'os' as os %}{{ text }}", "Import cannot stand"),
        ("{% macro m() %}{% endmacro %}{{ text }}", "Macro cannot stand"),
        ("{{ text }}{{ shots.index }}", "no attribute index"),
        ("{{ text }}{{ " + "(" * 2000 + "text" + ")" * 2000 + " }}", "nests too deeply"),
        ("{{ text }}{{ " + "not " * 60 + "text }}", "nests deeper than 30 levels"),
        ("{% if text %}" * 200 + "{% endif %}" * 200 + "{{ text }}", "nests deeper than 30 levels"),
        ("{{ text }}" + "x" * 8000, "at most 8000 characters"),
        ("", "at least 1 character"),
        ("{% for l in labels %}{{ l.index }}{% endfor %}{{ text }}", "no attribute index"),
        ("{{ text < 3 }}{{ text }}", "cannot be rendered"),
    ],
)  # fmt: skip
def test_what_else_a_template_could_do_is_refused(template: str, fault: str) -> None:
    with pytest.raises(ValidationError) as caught:
        prompt(template)
    assert fault in str(caught.value)


def test_a_text_that_a_template_drops_is_told_when_it_is_met() -> None:
    picky = prompt("{% if text|length < 9999 %}{{ text }}{% endif %}")
    with pytest.raises(InvalidInput, match=r"prompt\.template must put {{ text }} into the prompt as it is; the"):
        Renderer(picky, ("a",)).context("x" * 9999)
    loud = prompt("{{ text }}" * 300)
    with pytest.raises(InvalidInput, match="renders to more than 1000000 characters"):
        Renderer(loud, ("a",)).context("x" * 9999)


def test_a_recipe_names_the_template_and_its_line(tmp_path: Path) -> None:
    path = write_tiny_project(tmp_path / "project")
    around = Surroundings(root=tmp_path / "project", bases=("tiny",))
    block = "prompt:\n  kind: jinja\n  template: |-\n    {{ text }}\n    Label:\nevaluate:\n  shots: 0"
    path.write_text(RECIPE.replace("evaluate:", block, 1))
    found = load_recipe(path, around).prompt
    assert isinstance(found, JinjaPrompt)
    assert found.template == "{{ text }}\nLabel:"
    path.write_text(path.read_text().replace("shots: 0", "shots: 2"))
    with pytest.raises(InvalidRecipe, match=r"evaluate\.shots asks for examples, but prompt\.template does not"):
        load_recipe(path, around)
    path.write_text(path.read_text().replace("{{ text }}", "{{ txt }}"))
    with pytest.raises(InvalidRecipe, match=r"line 14: prompt\.jinja\.template: unknown names: txt"):
        load_recipe(path, around)


def test_a_model_is_trained_and_served_with_its_template(
    tmp_path: Path, tiny_model: Path, tiny_recipe: Recipe, tiny_splits: Stored[Splits]
) -> None:
    recipe = tiny_recipe.model_copy(update={"prompt": prompt("Review: {{ text }}\nLabel:")})
    job = make_job(tmp_path / "home", tiny_model, recipe, tiny_splits)
    trained = train(job, tracker)
    merged = merge(job, trained)
    served = read_serving(merged.path)
    assert served.prompt == recipe.prompt
    assert served.prompt_sha256 == trained.record.prompt_sha256 == merged.record.prompt_sha256 == job.prompt_sha256
    assert Renderer(served.prompt, tuple(served.labels)).context("x") == "Review: x\nLabel:"
    assert trained.key != train(make_job(tmp_path / "two", tiny_model, tiny_recipe, tiny_splits), tracker).key
