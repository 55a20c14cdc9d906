"""Answers of every task are written and read back by the one renderer."""

import pytest

from supply_chain.prompt import Renderer
from supply_chain.recipe.prompt import ChatPrompt, PlainPrompt

SHORT = PlainPrompt(after="\nFields:", answers={"StreetName": "street", "ZipCode": "zip"})
FIELDS = Renderer(SHORT, ("PlaceName", "StreetName", "ZipCode"), task="extraction")
TAGS = Renderer(PlainPrompt(answers={"b": "first"}), ("a", "b"), task="multilabel")


def test_fields_are_written_under_their_short_names_and_read_back():
    label = '{"PlaceName":"Evanston","StreetName":"Lake \\"Shore\\"","ZipCode":60202}'
    written = FIELDS.answer(label)
    assert written == ' {"PlaceName":"Evanston","street":"Lake \\"Shore\\"","zip":60202}'
    assert FIELDS.read(written) == FIELDS.read(written + "\nText: more") == label


def test_fields_are_written_in_the_order_of_the_recipe_then_sorted():
    label = '{"PlaceName":"Évry","StreetName":"Lake","ZipCode":"1"}'
    ordered = Renderer(SHORT.model_copy(update={"order": ["ZipCode", "StreetName"]}), FIELDS.labels, task="extraction")
    assert ordered.answer(label) == ' {"zip":"1","street":"Lake","PlaceName":"Évry"}'
    assert ordered.read(ordered.answer(label)) == label
    assert ordered.sha256 != FIELDS.sha256


def test_labels_are_written_sorted_as_written_and_read_back_sorted_as_they_are():
    assert TAGS.answer('["a","b"]') == ' ["a","first"]'
    assert TAGS.read(' ["first","a","a"]') == '["a","b"]'


@pytest.mark.parametrize(
    "written",
    [
        "",
        " ",
        "street",
        ' {"street":"Lake"',
        ' {"street":{"a":1}}',
        ' ["street"]',
        ' "x"',
        "[" * 100_000,
        " {street:1}",
    ],
)
def test_what_holds_no_object_of_fields_is_no_answer(written):
    assert FIELDS.read(written) == ""


@pytest.mark.parametrize("written", ["", '["a"', "[1]", '{"a":1}', "null"])
def test_what_holds_no_list_of_labels_is_no_answer(written):
    assert TAGS.read(written) == ""


def test_an_invented_field_is_kept_so_that_it_can_be_counted_as_wrong():
    assert FIELDS.read('{"county":"Cook","zip":"1"}') == '{"ZipCode":"1","county":"Cook"}'
    assert FIELDS.read("{}") == "{}"


def test_an_answer_is_complete_with_its_last_bracket():
    whole = ' {"street":"a}b"}'
    assert [FIELDS.complete(whole[:n]) for n in range(len(whole) + 1)] == [False] * len(whole) + [True]


def test_shots_stand_before_the_text():
    shown = Renderer(SHORT, FIELDS.labels, task="extraction", shots=(("5 Elm", '{"StreetName":"Elm"}'),))
    assert shown.context("6 Oak") == '5 Elm\nFields: {"street":"Elm"}\n\n6 Oak\nFields:'
    chat = Renderer(ChatPrompt(kind="chat", instruction="Say."), ("a",), str, shots=(("t", "a"),))
    assert [turn["role"] for turn in eval(chat.context("x"))] == ["system", "user", "assistant", "user"]


def test_the_identity_tells_tasks_apart_and_leaves_classification_as_it_was():
    digests = [Renderer(SHORT, FIELDS.labels, task=t).sha256 for t in ("classification", "multilabel", "extraction")]
    assert len(set(digests)) == 3
    assert Renderer(PlainPrompt(), ("a", "b")).sha256 == (
        "48f9d032f3d96cdb4a5b0ddb476016ef10ec4220ac3575d6eba63df15f4fb624"
    )
