"""The report in a real browser, with the network off: accessible by axe, harmless, and within its width."""

import csv
import shutil
import subprocess
import tarfile
from pathlib import Path

import pytest

from evals.estimates import Estimate
from evals.records import Agreement, Judgement, Mended, Missed, Reason, Scorecard, Verdict
from evals.report import render_report
from evals.scorecard import score
from supply_chain.data.curate import curate
from supply_chain.data.source import locate
from supply_chain.data.split import split
from supply_chain.escalation import Cheapest, Escalation
from supply_chain.recipe import load_recipe
from supply_chain.recipe.part import Surroundings
from supply_chain.store import Store
from tests.conftest import write_tiny_project
from tests.evals.test_scorecard import answering

CHROMIUM = shutil.which("chromium") or shutil.which("google-chrome")
AXE = "axe-core@4.11.0"
EVIL = "<script>document.title = 'taken'</script> <img src=x onerror=alert(1)> هذا المنتج رائع"
PRICES = "generalist_usd_per_1k: 1.5\n    training_usd: 5\n    hosting_usd_per_month: 20\n    mistake_usd: 0.02"
VERDICT = Verdict(
    promoted=False,
    headline="Refused: 1 of 2 checks failed (size).",
    reasons=[Reason(passed=True, sentence="It beats word counts."), Reason(passed=False, sentence="It is large.")],
)
pytestmark = pytest.mark.skipif(CHROMIUM is None, reason="needs chromium: apt-get install chromium")


@pytest.fixture(scope="module")
def report(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A report with every section, on data that means harm."""
    root = tmp_path_factory.mktemp("page")
    path = write_tiny_project(root / "project")
    rules = "rules: {near_duplicates: {action: keep}}\n  license"
    asked = "out_of_scope: neutral\n  resamples"
    text = path.read_text().replace("mistake_usd: 0.02", PRICES).replace("license", rules)
    path.write_text(text.replace("resamples", asked))
    table = root / "project/data/tiny_reviews.csv"
    rows = list(csv.DictReader(table.read_text().splitlines()))
    with table.open("w", newline="") as file:
        writer = csv.DictWriter(file, ["text", "label", "review"])
        writer.writeheader()
        writer.writerows(
            {**row, "text": f"{EVIL} {row['text']}" if i % 4 == 0 else row["text"]} for i, row in enumerate(rows)
        )
    recipe = load_recipe(path, Surroundings(root=root / "project", bases=("tiny",)))
    store = Store(root / "store")
    curated = curate(recipe.data, locate(recipe.data.source, root / "downloads", root / "project"), store)
    splits = split(curated, recipe.data.split, 17, store)
    cheapest = Cheapest(threshold=0.4, usd_per_1k=12.0, all_kept_usd_per_1k=20.0)
    promise = Escalation(max_risk=0.1, confidence=0.95, threshold=0.5, rows=60, kept=50, mistakes=1, cheapest=cheapest)
    entries = (("bnb-nf4", 2), ("tfidf", 3), ("specialist", 4))
    predictions = [answering(name, splits, store, wrong=wrong, escalation=promise) for name, wrong in entries]
    card = score(recipe, splits, predictions, "bnb-nf4", 17, store)
    card = store.once(Scorecard, "f" * 64, lambda folder: _with_everything(card.record, folder))
    return render_report(recipe, card, splits, VERDICT, "c" * 64, {}, store).path / "report.html"


def _with_everything(card: Scorecard, folder: Path) -> Scorecard:
    share = Estimate(mean=0.8, low=0.7, high=0.9, n=60)
    agreement = Agreement(rows=30, unreadable=1, swayed=2, same_verdict=0.9, kappa=share)
    judgement = Judgement(
        model=EVIL, criterion=EVIL, candidate=share, champion=share, swayed=3, unscored=2, usd=0.4, agreement=agreement
    )
    missed = [Missed(line=4, text=EVIL, truth="negative", answer="positive", who=EVIL)]
    mended = Mended(rows=3, right=2, trained=1, champion_right=3, lost=1, missed=missed)
    (folder / "scorecard.json").write_text("{}")
    one = card.contestants[0].model_copy(update={"unscored": {card.metric: 2}})
    more = {"judgement": judgement, "mended": mended, "contestants": [one, *card.contestants[1:]]}
    return card.model_copy(update=more)


@pytest.fixture(scope="module")
def axe(tmp_path_factory: pytest.TempPathFactory) -> str:
    """axe-core's script, fetched as npm fetches any package."""
    folder, npm = tmp_path_factory.mktemp("axe"), shutil.which("npm")
    if npm is None:
        pytest.skip("needs npm, to fetch axe-core")
    done = subprocess.run([npm, "pack", "--silent", AXE], cwd=folder, capture_output=True, text=True, check=False)
    if done.returncode:
        pytest.skip(f"{AXE} cannot be fetched: {done.stderr.strip()[:200]}")
    with tarfile.open(folder / done.stdout.strip()) as package:
        script = package.extractfile("package/axe.min.js")
        assert script is not None
        return script.read().decode()


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize(("name", "width", "height"), [("desktop", 1280, 900), ("phone", 390, 844)])
def test_axe_finds_nothing_and_nothing_runs_or_overflows(report, axe, tmp_path, scheme, name, width, height):
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox", "--disable-gpu"])
        context = browser.new_context(
            viewport={"width": width, "height": height}, color_scheme=scheme, offline=True, bypass_csp=True
        )
        page = context.new_page()
        asked, said = [], []
        page.on("request", lambda request: asked.append(request.url))
        page.on("dialog", lambda dialog: said.append(dialog.message))
        page.goto(report.as_uri())
        assert asked == [report.as_uri()] and said == []
        assert page.title().startswith("tiny_reviews: Refused")
        assert page.get_by_text("<script>document.title").count() > 0
        headings = page.locator("h2").all_inner_texts()
        assert {"Judge", "Corrections", "Confidence", "Total cost"} <= set(headings)
        assert page.get_by_text("are passed on or told apart").count() == 1
        assert page.get_by_role("img", name="Cost by share answered").count() == 1
        assert page.evaluate("document.documentElement.scrollWidth") <= width
        page.evaluate(axe)
        found = page.evaluate("axe.run(document, {resultTypes: ['violations']})")
        page.screenshot(path=tmp_path / f"{name}-{scheme}.png", full_page=True)
        browser.close()
    shown = [(v["id"], [n["html"][:200] for n in v["nodes"][:3]]) for v in found["violations"]]
    assert shown == []
