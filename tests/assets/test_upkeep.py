"""Starting a recipe, asking what a run would do, and looking at the machine."""

import csv
import json
from pathlib import Path

import pytest
from typer.testing import CliRunner

from assets.cli import app
from assets.doctor import Finding, examine, lock
from assets.plan import plan
from assets.project import Project
from assets.retention import Leftover, leftovers, remove
from assets.run import latest
from assets.starter import Started, Wish, start_recipe
from supply_chain.errors import InvalidInput
from tests.assets.conftest import load


def whys(project: Project) -> dict[str, str | None]:
    return {one.asset.rpartition("/")[2]: one.why for one in plan(load(project), project)}


def test_a_plan_names_what_a_change_makes_anew(made_once: Project) -> None:
    assert set(whys(made_once).values()) == {None}
    path = made_once.settings.recipes / "tiny_reviews.yaml"
    before, data = path.read_text(), made_once.settings.root / "data/tiny_reviews.csv"
    rows = data.read_bytes()
    try:
        load(made_once, ("quantization_loss: 1.0", "quantization_loss: 0.9"))
        changed = {name: why for name, why in whys(made_once).items() if why}
        assert changed == {
            "decision": "its part of the recipe changed",
            "report": "follows decision",
            "registered_model": "follows decision, report",
            "champion": "follows decision, registered_model, report",
        }
        path.write_text(before)
        data.write_bytes(rows + b"one more good sentence,positive,r99\n")
        assert whys(made_once)["curated_data"] == "the source's bytes changed"
        assert whys(made_once)["splits"] == "follows curated_data"
    finally:
        path.write_text(before)
        data.write_bytes(rows)


def test_the_plan_reads_like_a_change_in_git(made_once: Project, monkeypatch) -> None:
    monkeypatch.setenv("COLUMNS", "200")
    path = made_once.settings.recipes / "tiny_reviews.yaml"
    before = path.read_text()
    runner = CliRunner()
    assert "tiny_reviews: nothing to make" in runner.invoke(app, ["explain", "tiny_reviews"]).output
    try:
        load(made_once, ("quantization_loss: 1.0", "quantization_loss: 0.9"))
        said = runner.invoke(app, ["explain"]).output
    finally:
        path.write_text(before)
    assert "4 of 15 assets to make" in said
    assert "  ~ decision          its part of the recipe changed" in said
    assert "  = base_models/tiny, curated_data, splits, adapter" in said


def test_before_the_first_run_everything_is_to_be_made(project: Project) -> None:
    assert set(whys(project).values()) == {"was never made"}


def hostile_csv(project: Project, columns: tuple[str, str], labels: list[str]) -> Path:
    path = project.settings.root / "data" / "what, {a}: name.csv"
    with path.open("w", newline="") as file:
        writer = csv.writer(file, delimiter=";")
        writer.writerow(columns)
        writer.writerows(("some text", label) for label in labels)
    return path


def start(project: Project, name: str = "mine", **wish) -> Started:
    return start_recipe(Wish(name, **wish), project)


def kept(project: Project) -> list[str]:
    root = project.settings.root
    return sorted(p.relative_to(root).as_posix() for p in root.rglob("*") if p.is_file())


def test_a_started_recipe_is_valid_whatever_the_file_holds(project: Project) -> None:
    data = hostile_csv(project, ("the: text", "{label}"), ["a: b", '"quoted"', "x\ny", "#no"])
    wish = {"data": data, "text": "the: text", "label": "{label}", "owner": "team:me", "roles": ("domain", "risk")}
    started = start(project, **wish)
    recipe = project.recipe("mine")
    assert (recipe.data.text, recipe.data.label.column) == ("the: text", "{label}")
    assert (recipe.data.format.delimiter, started.data, started.labels.total()) == (";", data, 4)
    assert recipe.promote.approval.roles == ["domain", "risk"], "the recipe's own"
    assert (recipe.suite, recipe.promote.minimum, recipe.promote.beats) == ("mine", 0.5, ["tfidf"]), "its suite's"
    assert started.suite == project.settings.root / "evals/suites/mine.yaml"
    with pytest.raises(InvalidInput, match="is there already"):
        start(project, **wish)


@pytest.mark.parametrize(
    ("name", "text", "labels", "said"),
    [
        ("mine", "txt", ["a", "b"], "no column txt; it has text, label"),
        ("mine", "text", ["a", "a"], "holds 1 labels; expected 2 to 200"),
        ("Mine!", "text", ["a", "b"], "cannot be a recipe's name"),
        ("../mine", "text", ["a", "b"], "cannot be a recipe's name"),
    ],
)
def test_what_cannot_become_a_recipe_writes_nothing(
    project: Project, name: str, text: str, labels: list[str], said: str
) -> None:
    data = hostile_csv(project, ("text", "label"), labels)
    before = kept(project)
    with pytest.raises(InvalidInput, match=said):
        start(project, name, data=data, text=text)
    with pytest.raises(InvalidInput, match="owner"):
        start(project, data=hostile_csv(project, ("text", "label"), ["a", "b"]), owner="nobody in particular")
    assert kept(project) == before


def test_data_from_elsewhere_are_copied_once_and_never_overwritten(project: Project, tmp_path: Path) -> None:
    elsewhere = tmp_path / "data.csv"
    elsewhere.write_text("text,label\na,b\nc,d\n")
    started = start(project, data=elsewhere)
    assert started.data == project.settings.root / "data/mine.csv"
    assert started.data.read_bytes() == elsewhere.read_bytes()
    started.recipe.unlink()
    assert start(project, data=elsewhere).labels == {"b": 1, "d": 1}, "as after a kill"
    elsewhere.write_text("text,label\na,b\nc,x\n")
    started.recipe.unlink()
    with pytest.raises(InvalidInput, match="holds other data"):
        start(project, data=elsewhere)
    assert started.data.read_text().endswith("c,d\n")


def test_without_data_a_stub_is_written_that_validates_at_once(project: Project, monkeypatch) -> None:
    monkeypatch.setenv("COLUMNS", "200")
    runner = CliRunner()
    done = runner.invoke(app, ["init", "mine"])
    assert (done.exit_code, "four made-up rows" in done.output) == (0, True)
    assert runner.invoke(app, ["validate", "mine"]).exit_code == 0
    with (project.settings.root / "data/mine.csv").open() as file:
        assert next(csv.DictReader(file)).keys() == {"text", "label"}
    assert "+ curated_data" in runner.invoke(app, ["explain", "mine"]).output


def test_the_doctor_says_what_to_do(project: Project) -> None:
    found = {one.what: one for one in examine(project)}
    assert found["project"].cure is None
    assert found["trl"].found.startswith("1.")
    (project.settings.recipes / "base_models.yaml").write_text("models: []\n")
    (broken,) = [one for one in examine(Project(project.settings)) if one.what == "project"]
    assert broken.cure == "supply-chain validate"


def test_the_doctor_tries_the_store_and_reads_the_lock(project: Project, tmp_path: Path) -> None:
    def seen(**settings) -> dict[str, Finding]:
        return {one.what: one for one in examine(Project(project.settings.model_copy(update=settings)))}

    shared = tmp_path / "shared"
    well = seen(store=f"file://{shared}")
    assert (well["store"].cure, [p for p in shared.rglob("*") if p.is_file()]) == (None, [])
    assert well["gpu"].found and "core" in well["threads"].found
    (tmp_path / "file").write_text("")
    assert "shared store" in seen(store=f"file://{tmp_path}/file")["store"].found
    (tmp_path / "lock.txt").write_text("pydantic==1.0\nnot-there==3\n# pip==0\n")
    other = lock(tmp_path / "lock.txt")
    assert other.found.startswith("not as in constraints.txt: pydantic 2.") and "(1.0)" in other.found
    assert "not-there" not in other.found and other.cure


def test_only_what_nothing_needs_is_left_over(made_once: Project) -> None:
    store, home = made_once.store, made_once.settings.home
    earlier = {one.path for one in leftovers(made_once, 0)}

    def new(days: float = 0) -> list[Leftover]:
        return [one for one in leftovers(made_once, days) if one.path not in earlier]

    assert not earlier & {latest("tiny_reviews", name, made_once).path for name in ("quantized_model", "report")}
    quantized, card = (home / f"references/tiny_reviews.{name}.json" for name in ("quantized_model", "data_card"))
    kept = {path: path.read_text() for path in (quantized, card)}
    try:
        quantized.unlink()
        assert new() == [], "a champion's bytes stay"
        card.unlink()
        (one,) = new()
        assert (one.kind, one.path.name) == ("data_card", json.loads(kept[card])["key"])
        assert one.size_bytes == sum(f.stat().st_size for f in one.path.iterdir())
        assert new(days=1) == [], "it is not a day old"
        card.write_text(kept[card])
        (store.root / "work/abc").mkdir(parents=True)
        (left,) = new(days=1)
        remove([left], made_once)
        assert not left.path.exists()
        assert new() == []
    finally:
        for path, text in kept.items():
            path.write_text(text)


def test_nothing_is_removed_without_being_told(made_once: Project) -> None:
    (made_once.store.root / "work/old").mkdir(parents=True)
    runner = CliRunner()
    listed = runner.invoke(app, ["clean"])
    assert (listed.exit_code, "would remove" in listed.output) == (0, True)
    assert (made_once.store.root / "work/old").exists()
    assert runner.invoke(app, ["clean", "--yes"]).exit_code == 0
    assert not (made_once.store.root / "work/old").exists()
