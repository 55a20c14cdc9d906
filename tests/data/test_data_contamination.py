"""What stands in a held-out set is not trained on, however it is worded; the held-out set itself is left whole."""

import pytest
from data_project import rejected, sentence

from supply_chain.data.embeddings import embed
from supply_chain.data.pinned import check_pinned
from supply_chain.errors import CorruptData, InvalidInput

ASKED = "where can I see the exchange rate that you use for payments abroad"


@pytest.fixture
def held_out(project):
    project.write("test.jsonl", [{"text": sentence(3).upper()}, {"text": ASKED}])
    return {"name": "official", "source": {"kind": "path", "path": "test.jsonl"}}


def contaminated(project, rows, *texts, **held_out):
    name = project.write("d.jsonl", [*rows(40), *({"text": t, "label": "a"} for t in texts)])
    before = (project.root / "test.jsonl").read_bytes()
    made = project.curate(name, rules={"decontaminate": [held_out]})
    assert (project.root / "test.jsonl").read_bytes() == before
    assert {r.reason for r in rejected(made)} == {"contaminated"}
    return {r.line: r.detail for r in rejected(made) if r.line > 4}


def test_a_quotation_inside_a_longer_text_is_found(project, rows, held_out):
    quoted = f"The customer wrote last week, Where can I see the exchange-rate that you use {sentence(90)}"
    short = f"someone asked where can I see {sentence(91)}"
    across = ["the exchange rate that", "you use for payments"]  # a run does not continue in the next text
    found = contaminated(project, rows, quoted, short, *across, **held_out, shared_words=8)
    assert found == {41: "shares 8 words in a row with line 2 of official"}
    assert contaminated(project, rows, quoted, **held_out) == {}


def test_a_paraphrase_is_found_by_its_meaning(project, rows, held_out):
    pytest.importorskip("wordllama")
    reworded = "in which place do I find the exchange rate used by you for abroad payments"
    other = "my card was swallowed by the machine this morning"
    assert contaminated(project, rows, reworded, other, **held_out) == {}
    found = contaminated(project, rows, reworded, other, **held_out, meaning=0.85)
    assert list(found) == [41] and found[41].endswith("alike in meaning to line 2 of official")


def test_an_empty_text_is_like_nothing():
    pytest.importorskip("wordllama")
    vectors = embed(["", "a card", ""])
    assert (vectors @ vectors.T).round(4).tolist() == [[0, 0, 0], [0, 1, 0], [0, 0, 0]]


@pytest.mark.parametrize("value", ["", None, 7, ["a"]])
def test_a_held_out_row_that_cannot_be_compared_is_an_error(project, rows, held_out, value):
    project.write("test.jsonl", [{"text": ASKED}, {"text": value}])
    with pytest.raises(InvalidInput, match="official has no text in 'text' in line 2: name another column"):
        contaminated(project, rows, **held_out)


def test_a_held_out_text_that_is_no_unicode_is_still_compared(project, rows, held_out):
    project.write("test.jsonl", [{"text": "\ud800 broken"}, {"text": ASKED}])
    assert contaminated(project, rows, ASKED, **held_out, shared_words=5) == {41: "equal to line 2 of official"}


def test_other_model_files_than_the_pinned_ones_are_refused(tmp_path):
    (tmp_path / "weights").mkdir()
    (tmp_path / "weights/a.safetensors").write_bytes(b"1")
    with pytest.raises(CorruptData, match=r"files of wordllama have SHA-256 (\w+), expected 00") as error:
        check_pinned("wordllama", [tmp_path / "weights"], "00")
    found = str(error.value).split("SHA-256 ")[1].split(",")[0]
    check_pinned("wordllama", [tmp_path / "weights"], found)
    (tmp_path / "weights/a.safetensors").write_bytes(b"2")
    with pytest.raises(CorruptData):
        check_pinned("wordllama", [tmp_path / "weights"], found)
