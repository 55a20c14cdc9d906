import csv
import json
import re
from html.parser import HTMLParser

import pytest
from jsonschema import Draft202012Validator

from evals.drawing import Axis
from evals.estimates import Estimate
from evals.predictions import write_predictions
from evals.records import Reason, Report, Verdict
from evals.report import render_report
from evals.scorecard import score
from evals.summary import escape
from evals.table import percent
from evals.twin import SCHEMA, schema_text
from supply_chain.data.curate import curate
from supply_chain.data.examples import read_split
from supply_chain.data.source import locate
from supply_chain.data.split import split
from supply_chain.errors import EvidenceMismatch
from supply_chain.recipe import load_recipe
from supply_chain.recipe.part import Surroundings
from supply_chain.records import Predictions
from tests.conftest import write_tiny_project
from tests.evals.test_scorecard import answering

VOID = {"meta", "br", "link", "img", "rect", "circle", "hr", "input"}
VERDICT = Verdict(
    promoted=True,
    headline="The specialist may ship",
    reasons=[Reason(passed=True, sentence="It beats word counts."), Reason(passed=False, sentence="It is large.")],
)


class Page(HTMLParser):
    """Checks that tags nest, and collects them and the text."""

    def __init__(self, html: str):
        super().__init__()
        self.open, self.tags, self.words = [], [], []
        self.feed(html)
        assert not self.open

    def handle_starttag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))

    def handle_endtag(self, tag):
        assert self.open.pop() == tag, f"</{tag}> closes nothing"

    def handle_data(self, data):
        self.words.append(data)

    @property
    def text(self) -> str:
        return " ".join(" ".join(self.words).split())

    def all(self, tag: str) -> list[dict]:
        return [attrs for name, attrs in self.tags if name == tag]


@pytest.fixture
def made(tiny_recipe, tiny_splits, store):
    """Everything that a report needs."""
    predictions = [
        answering(name, tiny_splits, store, wrong=wrong)
        for name, wrong in (("bnb-nf4", 2), ("tfidf", 3), ("specialist", 4))
    ]
    return tiny_recipe, score(tiny_recipe, tiny_splits, predictions, "bnb-nf4", 17, store), tiny_splits


def render(made, store, verdict=VERDICT, lineage=None):
    recipe, scorecard, splits = made
    return render_report(recipe, scorecard, splits, verdict, "c" * 64, lineage or {"recipe": "a" * 64}, store)


def test_the_page_says_what_was_measured(made, store):
    stored = render(made, store)
    page, card = Page((stored.path / "report.html").read_text()), made[1].record
    text, candidate = page.text, card.contestant("bnb-nf4")
    assert f"Macro-F1 {candidate.metric('macro_f1').mean:.3f}" in text
    assert f"95 % interval {candidate.metric('macro_f1').low:.3f} to {candidate.metric('macro_f1').high:.3f}" in text
    assert "Passed: It beats word counts." in text and "Failed: It is large." in text
    assert "The candidate missed 12 of 24 rows (50 %)" in text
    assert "1,000 decisions a month" in text and "negative taken for positive costs $0.25" in text
    assert "supply-chain run tiny_reviews" in text
    for digest in ("a" * 64, "c" * 64, "d" * 64, made[1].digest, made[2].digest, candidate.predictions_digest):
        assert digest in text
    assert text.index("The specialist may ship", 60) < text.index("Macro-F1")
    assert set(stored.files) == {"report.html", "report.json", "summary.md"}
    assert stored.record == Report(
        scorecard_digest=made[1].digest,
        decision_digest="c" * 64,
        title="tiny_reviews: The specialist may ship",
        promoted=True,
    )


def test_the_page_is_whole_accessible_and_fetches_nothing(made, store):
    html = (render(made, store).path / "report.html").read_text()
    page = Page(html)
    assert not re.findall(r"https?://|@import|url\(|<script|<link|<img|<iframe", html)
    assert page.all("html") == [{"lang": "en"}] and len(page.all("h1")) == 1
    assert {"header", "nav", "main", "footer"} <= {tag for tag, _ in page.tags}
    assert len(page.all("caption")) == len(page.all("table")) == 7
    assert all(attrs.get("scope") in ("row", "col") for attrs in page.all("th"))
    ids = [attrs["id"] for _, attrs in page.tags if "id" in attrs]
    assert len(ids) == len(set(ids))
    assert {a["href"][1:] for a in page.all("a")} | {s["aria-labelledby"] for s in page.all("section")} <= set(ids)


def test_colours_have_enough_contrast(made, store):
    css = (render(made, store).path / "report.html").read_text()
    schemes = re.findall(r":root \{(.*?)\}", css, re.S)
    assert len(schemes) == 3  # light, dark, print
    for scheme in schemes:
        colour = dict(re.findall(r"--([\w-]+): (#[0-9a-f]{6})", scheme))
        pairs = [(ink, paper) for ink in ("ink", "soft", "accent", "good", "bad") for paper in ("paper", "card")]
        for ink, paper in [*pairs, ("good", "good-wash"), ("bad", "bad-wash")]:
            assert contrast(colour[ink], colour[paper]) >= 4.5, (ink, paper)


def contrast(one: str, other: str) -> float:
    def luminance(colour: str) -> float:
        parts = [int(colour[i : i + 2], 16) / 255 for i in (1, 3, 5)]
        r, g, b = (c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in parts)
        return 0.2126 * r + 0.7152 * g + 0.0722 * b

    dark, light = sorted((luminance(one), luminance(other)))
    return (light + 0.05) / (dark + 0.05)


EVIL = "<script>alert(1)</script>\"'><img src=x onerror=alert(2)> {{ 7*7 }} |"


@pytest.fixture
def hostile(tmp_path, store):
    """A project whose texts, labels and attribution try to become markup."""
    path, data = write_tiny_project(tmp_path / "hostile"), tmp_path / "hostile/data/tiny_reviews.csv"
    with data.open(newline="") as file:
        rows = list(csv.DictReader(file))
    with data.open("w", newline="") as file:
        writer = csv.DictWriter(file, ["text", "label", "review"])
        writer.writeheader()
        for row in rows:
            writer.writerow({**row, "text": f"{EVIL} {row['text']}", "label": f"<b>|{row['label']}"})
    recipe_text = path.read_text().replace("Made up for the tests.", "'<i>me</i>'")
    apart = "  rules: {near_duplicates: {action: keep}}\nbase: tiny"  # every row shares the hostile words
    recipe_text = recipe_text.replace("base: tiny", apart)
    path.write_text(recipe_text.replace("negative->positive", "'<b>|negative-><b>|positive'"))
    recipe = load_recipe(path, Surroundings(root=tmp_path / "hostile", bases=("tiny",)))
    source = locate(recipe.data.source, tmp_path / "downloads", root=tmp_path / "hostile")
    splits = split(curate(recipe.data, source, store), recipe.data.split, 17, store)
    predictions = [answering("bnb-nf4", splits, store, wrong=1)]
    return recipe, score(recipe, splits, predictions, "bnb-nf4", 17, store), splits


def test_text_of_others_is_shown_and_never_run(hostile, store):
    verdict = Verdict(promoted=False, headline=EVIL, reasons=[Reason(passed=False, sentence=EVIL)])
    stored = render(hostile, store, verdict, lineage={"<u>evil</u>": "<s>x</s>"})
    page = Page((stored.path / "report.html").read_text())
    assert not {"script", "img", "b", "i", "u", "s"} & {tag for tag, _ in page.tags}
    assert page.text.count(EVIL) >= 22  # title, headline, reason and the mistakes
    assert "<b>|negative taken for <b>|positive costs $0.25" in page.text and "<i>me</i>" in page.text
    summary = (stored.path / "summary.md").read_text()
    assert not re.search(r"(?<!\\)[<>]", summary)
    assert summary.startswith("## \\<script\\>alert(1)\\</script\\>")


def test_markdown_tables_keep_their_columns(made, store):
    lines = (render(made, store).path / "summary.md").read_text().splitlines()
    table = [line for line in lines if line.startswith("|")]
    assert len(table) == 5 and {len(re.findall(r"(?<!\\)\|", line)) for line in table} == {8}
    assert "- ✓ It beats word counts." in lines and "- ✗ It is large." in lines


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("a|b", "a\\|b"),
        ("two\nlines  here", "two lines here"),
        ("[x](javascript:1)", "\\[x\\](javascript:1)"),
        ("*b* _i_ `c` ~s~ &lt;", "\\*b\\* \\_i\\_ \\`c\\` \\~s\\~ \\&lt;"),
        ("# head", "\\# head"),
        ("- item", "\\- item"),
        ("12. item", "&#49;2. item"),
        ("4-bit, 0.5", "4-bit, 0.5"),
    ],
)
def test_markdown_escapes(text, shown):
    assert escape(text) == shown


def test_the_twin_holds_what_the_page_says(made, store):
    twin = json.loads((render(made, store).path / "report.json").read_text())
    assert twin["scorecard"] == made[1].record.model_dump(mode="json")
    assert twin["verdict"] == VERDICT.model_dump()
    confident, costly = twin["mistakes"]["most_confident"], twin["mistakes"]["most_costly"]
    assert len(confident) == len(costly) == 10
    assert all(m["truth"] != m["answer"] for m in confident)
    prices = [m["usd"] for m in costly]
    assert prices == sorted(prices, reverse=True) and set(prices) <= {0.02, 0.25}
    assert set(confident[0]) == {"text", "truth", "answer", "confidence", "usd"}


def test_perfect_answers_need_no_list(tiny_recipe, tiny_splits, store):
    rows = read_split(tiny_splits, "test")

    def make(folder):
        labels = tiny_splits.record.labels
        write_predictions(folder, rows, labels, [[float(label == r.label) for label in labels] for r in rows])
        return answering("bnb-nf4", tiny_splits, store, wrong=2).record

    perfect = store.once(Predictions, "f" * 64, make)
    card = score(tiny_recipe, tiny_splits, [perfect], "bnb-nf4", 17, store)
    page = Page((render((tiny_recipe, card, tiny_splits), store).path / "report.html").read_text())
    assert "answered all 24 rows rightly" in page.text and not page.all("blockquote")


def test_a_report_is_made_once_with_equal_bytes(made, store):
    stored = render(made, store)
    assert render(made, store).path == stored.path
    again = render(made, store, lineage={"recipe": "b" * 64})
    assert again.key != stored.key and again.files["summary.md"] == stored.files["summary.md"]


def test_a_report_needs_the_predictions_that_were_scored(made, store):
    (
        made[1].path.parent.parent / "predictions" / made[1].record.contestants[-1].predictions_key / "entry.json"
    ).unlink()
    with pytest.raises(EvidenceMismatch, match="does not hold the predictions that bnb-nf4 was scored on"):
        render(made, store)


def test_axes_hold_every_interval():
    estimates = [Estimate(mean=0.5, low=0.42, high=0.61, n=9), Estimate(mean=0.8, low=0.75, high=0.8, n=9)]
    axis = Axis.around(estimates, 0.1)
    assert (axis.low, axis.high) == pytest.approx((0.4, 0.8))
    bar = axis.bar(estimates[0])
    assert (bar.start, bar.width, bar.mean) == (5.0, 47.5, 25.0)
    flat = Axis.around([Estimate(mean=0, low=0, high=0, n=9)], 0.05, zero=True)
    assert flat.at(0) == 0 and flat.high == 0.05


@pytest.mark.parametrize(
    ("share", "shown"), [(0, "0 %"), (0.001, "< 1 %"), (0.934, "93 %"), (0.9999, "> 99 %"), (1, "100 %")]
)
def test_shares(share, shown):
    assert percent(share) == shown.replace(" ", "\N{NO-BREAK SPACE}")


def test_many_labels_are_shown_as_the_most_frequent_mix_ups(made, store, monkeypatch):
    monkeypatch.setattr("evals.report._SHOWN_LABELS", 2)
    page = Page((render(made, store).path / "report.html").read_text())
    confusion = made[1].record.confusion
    n, truth, answer = min((-n, t, a) for t, row in confusion.items() for a, n in row.items() if t != a)
    assert "With 3 labels, only the most frequent mix-ups are shown" in page.text
    assert f"Rows Cost of one {truth} {answer} {-n} $" in page.text


def test_the_twin_keeps_to_its_published_schema(made, store):
    assert SCHEMA.read_text() == schema_text()
    found = json.loads((render(made, store).path / "report.json").read_text())
    Draft202012Validator(json.loads(SCHEMA.read_text())).validate(found)
    found["scorecard"]["rows"] = "many"
    assert not Draft202012Validator(json.loads(SCHEMA.read_text())).is_valid(found)
