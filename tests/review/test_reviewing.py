"""What reviewers see, what is kept of what they say, and what it adds up to."""

import json
from datetime import UTC, datetime, timedelta

import numpy as np
import pytest
from sklearn.metrics import cohen_kappa_score

from registry.decisions import Act, Log, standings
from registry.past import log_rows
from review import lines
from review.agreement import kappa
from review.cases import panel_of
from review.fleet import specialists
from review.fleet_page import chosen
from review.judgements import Correction, Judgement, Judgements, tally
from review.queue import waiting
from supply_chain.errors import CorruptData, InvalidInput
from tests.review.conftest import Site, hidden, login, token

URL = "/models/tiny_reviews/1"


def test_kappa_is_cohens():
    rng = np.random.default_rng(3)
    one = rng.choice(["a", "b", "c"], 60).tolist()
    other = [label if rng.random() < 0.7 else "b" for label in one]
    found = kappa(one, other)
    assert found is not None
    assert found.mean == pytest.approx(cohen_kappa_score(one, other), abs=1e-12)
    assert found.low < found.mean < found.high and found.n == 60
    assert kappa(["a", "b"], ["a", "b"]).mean == 1.0
    assert kappa(["a", "a"], ["a", "a"]) is None and kappa(["a"], ["b"]) is None


def test_the_cases_are_the_doubtful_ones_and_stay_the_same(site: Site):
    first = site.release(salt="a")
    digest = first.digests["artifact"]
    second = site.release(salt="b", champion=digest, wrong=6)
    panel = panel_of(second, site.store, 12)
    assert panel == panel_of(second, site.store, 12) and len(panel.cases) == 12
    reasons = [case.why for case in panel.cases]
    assert reasons.count("disagreement") == 6 == sum(case.candidate != case.rival for case in panel.cases)
    assert all(case.candidate != case.truth for case in panel.cases if case.why == "costly")
    ways = {case.answers(panel.release, who)[0] == case.candidate
            for case in panel.cases if case.candidate != case.rival for who in ("ada", "bob", "cy")}  # fmt: skip
    assert ways == {True, False}, "either answer may come first"
    assert panel_of(first, site.store, 12).cases[0].rival is None


def test_a_case_is_blind_and_what_is_said_becomes_data(site: Site):
    site.release()
    client = site.client()
    login(client)
    page = client.get(f"{URL}/cases", follow_redirects=True).text
    for word in ("champion", "candidate", "bnb-nf4", "costly", "confidence"):
        assert word not in page.casefold()
    cases = panel_of(waiting(site.desk)[0].release, site.store).cases
    wrong = next(n for n, case in enumerate(cases, 1) if case.candidate != case.truth)
    right = next(n for n, case in enumerate(cases, 1) if case.candidate == case.truth)

    def say(number: int, **form: str) -> int:
        return client.post(f"{URL}/cases/{number}", data={"csrf": token(page), **form}).status_code

    assert say(right, pick="1", comment=" fine ") == 303
    assert say(wrong, pick="correct", label=cases[wrong - 1].truth) == 303
    assert [say(wrong, **form) for form in ({}, {"pick": "3"}, {"pick": "correct", "label": "nonsense"})] == [400] * 3
    path = site.settings.root / "corrections/tiny_reviews.jsonl"
    (line,) = [json.loads(text) for text in path.read_text().splitlines()]
    assert line["text"] == cases[wrong - 1].text and line["label"] == cases[wrong - 1].truth
    assert line["who"] == "ada" and datetime.fromisoformat(line["when"]).tzinfo is not None
    assert (line["answered"], line["case"]) == (cases[wrong - 1].candidate, cases[wrong - 1].id)
    assert say(wrong, pick="1") == 303, "a change of mind"
    assert [c.label for c in lines.read(path, Correction)] == [cases[wrong - 1].truth, cases[wrong - 1].candidate]
    said = Judgements(site.settings).of(panel_of(waiting(site.desk)[0].release, site.store).release)
    assert said["ada", cases[right - 1].id].comment == "fine" and len(said) == 2


def test_corrections_can_be_a_recipes_source(site: Site):
    from supply_chain.data.corrections import stored_corrections
    from supply_chain.data.curate import curate
    from supply_chain.data.source import locate
    from supply_chain.recipe.data import DataSpec

    release = site.release()
    panel, found = panel_of(release, site.store), Judgements(site.settings)
    for case in panel.cases:
        label = "positive" if case.candidate != "positive" else "negative"
        said = Judgement(
            release=panel.release, case=case.id, who="ada", when=datetime.now(UTC), label=label, comment=""
        )
        found.save(("tiny_reviews", 1), case, said)
    rules = {"near_duplicates": {"action": "keep"}, "min_rows_per_label": 2}
    told = {"source": {"kind": "path", "path": "corrections/tiny_reviews.jsonl"}, "format": {"kind": "jsonl"},
            "license": "CC0-1.0", "rules": rules}  # fmt: skip
    spec = DataSpec.model_validate(told)
    source = locate(spec.source, site.settings.downloads, root=site.settings.root)
    assert curate(spec, source, site.store).record.rows_kept == len(panel.cases)
    assert stored_corrections(source, site.store).record.rows == len(panel.cases), "and an evaluation's slice"


def test_a_torn_line_goes_and_a_bad_one_is_named(tmp_path):
    path = tmp_path / "x.jsonl"
    said = Judgement(release="r", case="1", who="ada", when=datetime.now(UTC), label=None, comment="")
    lines.append(path, said)
    path.write_bytes(path.read_bytes() + b'{"half')
    assert list(lines.read(path, Judgement)) == [said]
    lines.append(path, said)
    assert list(lines.read(path, Judgement)) == [said, said]
    path.write_bytes(b"{}\n")
    with pytest.raises(CorruptData, match="line 1"):
        list(lines.read(path, Judgement))


def test_the_tally_counts_cases_not_only_judgements(site: Site):
    release = site.release()
    panel = panel_of(release, site.store)
    at = datetime.now(UTC)

    def judged(who: str, n: int, label: str | None) -> Judgement:
        return Judgement(release=panel.release, case=panel.cases[n].id, who=who, when=at, label=label, comment="")

    same = [judged(who, n, panel.cases[n].candidate) for who in ("ada", "bob") for n in range(6)]
    found = tally(panel, [*same, judged("bob", 6, None)])
    assert found.decided == {"ada": 6, "bob": 7}
    assert found.candidate_right.mean == 1.0 and found.candidate_right.n == 12
    alone = tally(panel, same[:6]).candidate_right
    assert found.candidate_right.low == pytest.approx(alone.low), "two people about one case are one row"
    assert found.rival_right is None and found.agreement["ada", "bob"].mean == pytest.approx(1.0)


def test_declining_and_signing(site: Site):
    release = site.release()
    client, bob = site.client(), site.client()
    login(client)
    login(bob, "bob")

    def sign(who, role: str, decision: str, why: str = "read it", bound: str | None = None) -> int:
        page = who.get(URL).text
        form = {"csrf": token(page), "role": role, "decision": decision, "why": why}
        return who.post(f"{URL}/sign", data={**form, "bound": bound or hidden(page, "bound")}).status_code

    assert "Missing: domain, risk" in client.get("/").text
    assert sign(client, "domain", "sign", bound="0" * 64) == 409
    assert sign(client, "domain", "sign", why=" ") == 409
    assert sign(bob, "risk", "decline", "names in case 4") == 303
    assert sign(client, "domain", "sign") == 303
    assert waiting(site.desk)[0].missing == ["risk (bob declined: names in case 4)"]
    assert "waits for sign-off by risk (bob declined: names in case 4)" in site.desk.waits(release)
    assert sign(bob, "risk", "sign", "they are made up") == 303
    assert standings(Log(site.settings.home).entries())["tiny_reviews"].champion == 1
    assert "champion" in client.get(URL).text and "Nothing waits" in client.get("/").text
    said = [row["what"] for row in log_rows(Log(site.settings.home).entries(), "tiny_reviews")]
    assert "declined tiny_reviews version 1 as risk" in said
    audit = [json.loads(text) for text in (site.settings.home / "review/audit.jsonl").read_text().splitlines()]
    assert [(a["who"], a["what"]) for a in audit if a["what"] != "login"] == [
        ("ada", "refused: changed since shown"), ("bob", "declined"), ("ada", "signed"), ("bob", "signed"),
        ("bob", "promoted by the last signature"),
    ]  # fmt: skip


def test_nobody_declines_for_a_role_that_is_not_asked(site: Site):
    release = site.release()
    with pytest.raises(InvalidInput, match="not by ceo"):
        site.desk.decline(release, "ceo", Act("ada", "x"))
    with pytest.raises(InvalidInput, match="says why"):
        site.desk.decline(release, "risk", Act("ada", ""))


def test_the_fleet_at_a_glance(site: Site):
    before = specialists(site.settings)
    assert [(one.name, one.gate, one.version, one.quality) for one in before] == [
        ("tiny_reviews", "never run", None, None)
    ]
    path = site.settings.recipes / "tiny_reviews.yaml"
    path.write_text(path.read_text() + "automate: {max_age_days: 10}\n")
    (site.settings.recipes / "bad.yaml").write_text("name: bad\n")
    release = site.release()
    claims, kinds = release.claims(), {"decision": "decision", "quantized_model": "artifact", "report": "report"}
    for asset, kind in kinds.items():
        ref = {"kind": kind, "key": getattr(claims, kind).key, "digest": getattr(claims, kind).digest}
        file = site.settings.home / f"references/tiny_reviews.{asset}.json"
        file.parent.mkdir(exist_ok=True)
        file.write_text(json.dumps(ref))
    assert specialists(site.settings)[1].waits == ("domain", "risk")
    site.desk.approve(release, "domain", Act("ada", "x"))
    assert specialists(site.settings)[1].waits == ("risk",)
    site.desk.decline(release, "domain", Act("ada", "no"))
    assert specialists(site.settings)[1].waits == ("domain", "risk")
    for role, who in (("domain", "ada"), ("risk", "bob")):
        site.desk.approve(release, role, Act(who, "x"))
    site.desk.promote(release, Act("ada", "x"))
    bad, tiny = specialists(site.settings, datetime.now(UTC) + timedelta(days=11))
    assert (bad.name, bad.gate) == ("bad", "faulty recipe")
    assert (tiny.version, tiny.waits, tiny.gate, tiny.stale) == (1, (), "passed", True)
    assert tiny.age_days == pytest.approx(11, abs=0.01) and tiny.quality.low < tiny.quality.mean < tiny.quality.high
    assert tiny.usd_per_month > 0
    assert [one.name for one in chosen([bad, tiny], "", "stale", "name")] == ["tiny_reviews"]
    assert [one.name for one in chosen([bad, tiny], "TEAM:tests class", "", "name")] == ["tiny_reviews"]
    assert [one.name for one in chosen([bad, tiny], "", "", "cost")] == ["tiny_reviews", "bad"]
    client = site.client()
    login(client)
    page = client.get("/fleet?gate=passed&sort=cost&q=%22%3E%3Cscript%3E").text
    assert "<script>" not in page and "0 of 2 specialists" in page
