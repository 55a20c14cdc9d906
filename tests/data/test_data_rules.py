"""Every rule gives its reason, and every row read is accounted for."""

from collections import Counter

import pytest
from data_project import kept, rejected, sentence

from supply_chain.data.same import same_text
from supply_chain.errors import InvalidInput


def test_each_row_is_kept_or_rejected_with_its_reason_and_line(project, rows):
    extra = [
        {"text": "", "label": "a"},
        {"text": 7, "label": "a"},
        {"text": "x" * 5000, "label": "a"},
        {"text": "nul \x00 byte", "label": "a"},
        {"text": "no label here"},
        {"text": sentence(0).upper(), "label": "a"},
        {"text": sentence(1), "label": "a"},
        {"text": "a damned fine word", "label": "a"},
        {"text": "half \ud800 pair", "label": "a"},
    ]
    made = project.curate(project.write("d.jsonl", rows(40) + extra), rules={"blocked_words": ["damned"]})
    found = [(r.reason, r.line) for r in rejected(made)]
    assert sorted(found, key=lambda f: (f[1], f[0])) == [
        ("contradictory_label", 2), ("too_short", 41), ("not_text", 42), ("too_long", 43), ("nul_byte", 44),
        ("unknown_label", 45), ("duplicate", 46), ("contradictory_label", 47), ("blocked_word", 48), ("encoding", 49),
    ]  # fmt: skip
    assert made.record.rows_read == 49 == made.record.rows_kept + sum(made.record.rejects.values())
    assert made.record.rejects == dict(sorted(Counter(r for r, _ in found).items()))
    assert [(e.id, e.line) for e in kept(made)][:3] == [("1", 1), ("3", 3), ("4", 4)]


def test_near_duplicates_drop_only_within_a_label_and_share_a_cluster(project, rows):
    base = "please tell me how to change the delivery address"
    planted = [
        base,
        base.replace("change", "alter"),
        "address delivery the change to how me tell please!",
        base + " now",
    ]
    more = [{"text": t, "label": label} for t, label in zip(planted, "aaab", strict=True)]
    name = project.write("d.jsonl", rows(40) + more)
    together = project.curate(name)
    assert together.record.clusters == 1
    assert [e.line for e in kept(together) if e.cluster == 1] == [41, 42, 43, 44]
    dropped = project.curate(name, rules={"near_duplicates": {"action": "drop"}})
    assert [(r.reason, r.line, r.detail) for r in rejected(dropped)] == [
        ("near_duplicate", 42, "near duplicate of line 41"),
        ("near_duplicate", 43, "near duplicate of line 41"),
    ]


def test_rows_that_stand_in_a_held_out_set_are_rejected_and_it_is_left_whole(project, rows):
    project.write("test.jsonl", [{"text": sentence(3).upper()}, {"text": "where is the parcel that I sent yesterday"}])
    copy = {"text": "where is the parcel that I sent today", "label": "a"}
    name = project.write("d.jsonl", [*rows(40), copy])
    held_out = {"name": "official", "source": {"kind": "path", "path": "test.jsonl"}}
    made = project.curate(name, rules={"decontaminate": [held_out]})
    assert [(r.reason, r.line) for r in rejected(made)] == [("contaminated", 4), ("contaminated", 41)]
    assert rejected(made)[0].detail == "equal to line 1 of official"
    assert rejected(made)[1].detail.endswith("alike to line 2 of official")
    exact = project.curate(name, rules={"decontaminate": [{**held_out, "near": False}]})
    assert [r.line for r in rejected(exact)] == [4]
    project.write("test.jsonl", [{"text": "another set"}])
    assert project.curate(name, rules={"decontaminate": [held_out]}).key != made.key


def test_caps_filters_and_too_few_rows(project, rows):
    name = project.write("d.jsonl", [{**r, "year": 2000 + n} for n, r in enumerate(rows(60))])
    capped = project.curate(name, rules={"max_rows_per_label": 12})
    assert capped.record.rejects == {"class_cap": 36}
    recent = project.curate(name, rules={"filters": [{"column": "year", "at_least": 2030}]})
    assert recent.record.rejects == {"filtered": 30}
    with pytest.raises(InvalidInput, match=r"too few rows to learn from \(a 1, b 1.*filtered 58"):
        project.curate(name, rules={"filters": [{"column": "year", "at_least": 2058}]})
    assert not list((project.root / "store/tmp").iterdir())


def test_identity_follows_content_and_rules(project, rows):
    name = project.write("d.jsonl", rows(40))
    one = project.curate(name)
    stricter = project.curate(name, rules={"min_chars": 2})
    assert (stricter.record.rows_kept, stricter.record.rejects) == (one.record.rows_kept, one.record.rejects)
    assert stricter.digest != one.digest and stricter.record.fingerprint != one.record.fingerprint
    assert project.curate(name, sensitivity="confidential", zone="eu").digest != one.digest
    other = project.curate(project.write("again.jsonl", rows(40)))
    assert other.key == one.key
    changed = project.curate(project.write("d.jsonl", [*rows(40), {"text": "one more row here", "label": "a"}]))
    assert changed.digest != one.digest


def test_language(project, rows):
    pytest.importorskip("py3langid")
    german = {"text": "Das ist ein deutscher Satz, der hier nicht hingehört und lang genug ist.", "label": "a"}
    english = {"text": "This is an English sentence that belongs here and is long enough.", "label": "a"}
    plain = [{**r, "text": r["text"][:19]} for r in rows(40)]
    made = project.curate(project.write("d.jsonl", [*plain, german, english]), rules={"language": {"allowed": ["en"]}})
    assert [(r.reason, r.line, r.detail[:2]) for r in rejected(made)] == [("language", 41, "de")]


def test_label_noise_names_the_flipped_label(project):
    pytest.importorskip("cleanlab")
    pytest.importorskip("wordllama")
    foods, roads = "soup bread cheese apple pasta butter".split(), "train bus tram ferry bicycle lorry".split()
    texts = [(f"I would like some {f} with {g} for lunch", "food") for f in foods for g in foods if f != g]
    texts += [(f"the {f} is late so I took the {g} to work", "travel") for f in roads for g in roads if f != g]
    rows = [{"text": t, "label": label} for t, label in texts]
    rows[5]["label"] = "travel"
    rules = {"label_noise": {"share": 1 / 60}, "near_duplicates": {"action": "keep"}}
    made = project.curate(project.write("d.jsonl", rows), rules=rules)
    assert [(e.line, e.flags) for e in kept(made) if e.flags] == [(6, "label:food")]
    assert made.record.flagged == {"label": 1}
    rules["label_noise"]["action"] = "drop"
    dropped = project.curate("d.jsonl", rules=rules)
    assert [(r.line, r.reason, r.detail) for r in rejected(dropped)] == [(6, "label_noise", "looks like food")]


def test_the_same_text_is_known_by_case_and_white_space_folded():
    spaces = ["A b", "a  b", " a b ", "a\tb", "a\u00a0B", "a\u2003b\n", "a\x1cb", "\u3000a b", "a\x85b"]
    assert {same_text(t) for t in spaces} == {"a b"}
    assert same_text("Straße") == same_text("STRASSE") != same_text("Strasse n")
