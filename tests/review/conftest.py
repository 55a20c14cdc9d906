"""A version that waits for signatures: real predictions, scorecard, gate, report, MLflow and log."""

import csv
from dataclasses import dataclass
from pathlib import Path

import pytest
from fastapi.testclient import TestClient

from evals.report import render_report
from evals.scorecard import score
from registry.gate import judge, verdict
from registry.lifecycle import Desk
from registry.release import Release, register
from review import accounts
from review.accounts import Account, Accounts, hashed
from review.app import create_app
from review.security import Door
from review.sessions import Attempts, Sessions
from supply_chain.data.curate import curate
from supply_chain.data.source import locate
from supply_chain.data.split import split
from supply_chain.recipe import Recipe, load_recipe
from supply_chain.recipe.part import Surroundings
from supply_chain.records import Splits
from supply_chain.settings import Settings
from supply_chain.store import Store, Stored
from tests.assets.conftest import CATALOGUE
from tests.conftest import write_tiny_project
from tests.evals.test_scorecard import answering
from tests.registry.conftest import empty_mlflow, settings  # noqa: F401 (fixtures)
from tests.registry.evidence import store_artifact
from tests.registry.work import FLEET

PASSWORD = "correct horse battery"
EVIL = "<script>document.title='taken'</script><img src=x onerror=alert(1)>"
EASY = """promote:
  minimum: 0.0
  beats: []
  champion_margin: 1.0
  quantization_loss: 1.0
  approval: {roles: [domain, risk]}
"""


@dataclass
class Site:
    """The application over one project, and how tests talk to it."""

    recipe: Recipe
    settings: Settings
    store: Store
    splits: Stored[Splits]
    clock: list[float]

    @property
    def desk(self) -> Desk:
        return Desk(FLEET, self.settings, self.store)

    def release(self, salt: str = "", champion: str | None = None, wrong: int = 6) -> Release:
        """Registers a candidate whose answers miss every `wrong`-th row; a champion misses every 4th."""
        artifact = store_artifact(self.recipe, self.store, salt=salt)
        named = [("bnb-nf4", wrong, artifact.digest), ("specialist", 8, "5" * 64)]
        named += [("champion", 4, champion)] if champion else []
        answers = [answering(name, self.splits, self.store, wrong=w, model_digest=d) for name, w, d in named]
        card = score(self.recipe, self.splits, answers, "bnb-nf4", 17, self.store)
        decision = judge(self.recipe.promote, card, self.store)
        report = render_report(
            self.recipe, card, self.splits, verdict(decision.record), decision.digest, {}, self.store
        )
        return register(self.recipe, artifact, card, decision, report, "t1", self.settings, self.store)

    def door(self, **how) -> Door:
        path = self.settings.home / "review" / "accounts.json"
        people = Accounts(path)
        for name, roles in (("ada", ["domain"]), ("bob", ["risk"]), ("eve", ["sales"])):
            people.add(name, Account(roles=roles, password=hashed(PASSWORD)))
        tick = lambda: self.clock[0]  # noqa: E731
        return Door(self.desk, people, sessions=Sessions(tick), attempts=Attempts(tick), **how)

    def client(self, address: str = "127.0.0.1", **how) -> TestClient:
        app = create_app(self.door(**how), ["testserver", "127.0.0.1"])
        return TestClient(app, follow_redirects=False, client=(address, 5000))


@pytest.fixture
def site(tmp_path: Path, settings: Settings, monkeypatch: pytest.MonkeyPatch) -> Site:  # noqa: F811
    monkeypatch.setattr(accounts, "_COST", (1, 1, 8))
    path = write_tiny_project(tmp_path / "project")
    text = path.read_text().replace("promote: {minimum: 0.5}\n", EASY)
    path.write_text(text.replace("  license", "  rules: {near_duplicates: {action: keep}}\n  license"))
    table = tmp_path / "project/data/tiny_reviews.csv"
    rows = list(csv.DictReader(table.read_text().splitlines()))
    with table.open("w", newline="") as file:
        writer = csv.DictWriter(file, ["text", "label", "review"])
        writer.writeheader()
        writer.writerows({**row, "text": f"{EVIL} {row['text']}"} for row in rows)
    recipe = load_recipe(path, Surroundings(root=tmp_path / "project", bases=("tiny",)))
    (tmp_path / "project/recipes/base_models.yaml").write_text(CATALOGUE.format(path=tmp_path))
    here = settings.model_copy(update={"root": tmp_path / "project", "recipes": tmp_path / "project/recipes"})
    store = Store.of(here)
    source = locate(recipe.data.source, tmp_path / "downloads", root=tmp_path / "project")
    splits = split(curate(recipe.data, source, store), recipe.data.split, 17, store)
    return Site(recipe, here, store, splits, [1000.0])


def login(client: TestClient, name: str = "ada", password: str = PASSWORD) -> int:
    """Logs in as a browser would; returns the status."""
    page = client.get("/login")
    return client.post("/login", data={"csrf": token(page.text), "name": name, "password": password}).status_code


def token(page: str) -> str:
    """The form token of a page."""
    return page.partition('name="csrf" value="')[2].partition('"')[0]


def hidden(page: str, name: str) -> str:
    """Another hidden field of a page."""
    return page.partition(f'name="{name}" value="')[2].partition('"')[0]
