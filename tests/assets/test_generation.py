"""A recipe that writes texts goes the whole way through Dagster, with a generalist and a task of lm-eval beside it."""

import json
from pathlib import Path

import pytest

from assets.definitions import build
from assets.project import Project
from assets.run import latest, run_recipe
from assets.stages import perform
from evals.stock_run import read_metrics
from supply_chain.recipe import Recipe
from supply_chain.records import BaseModelRecord
from supply_chain.settings import Settings
from tests.assets.conftest import CATALOGUE, FLEET, described
from tests.evals.test_generalist import ENDPOINT
from tests.evals.test_generation import RECIPE, write_notes
from tests.evals.test_stock import ROWS, TASK, copied
from tests.evals.test_stock import write as write_rows
from tests.supply_chain.chat_server import KEY, chat_server


def write(root: Path, model: Path, url: str) -> Recipe:
    """A recipe that writes notes, asks a generalist behind `url` and names a task of lm-eval."""
    (root / "data").mkdir(parents=True)
    write_rows(root, "capitals", ROWS)
    write_rows(root, "shown", ROWS)
    (root / "tasks").mkdir()
    (root / "tasks/capitals.yml").write_text(TASK)
    endpoint = json.dumps({**ENDPOINT, "url": url, "instruction": "Write the note."})
    asked = f"generalist: {{endpoint: {endpoint}}}\n  tasks: [{{name: capitals, task: tasks/capitals.yml, rows: 6}}]"
    text = RECIPE.replace("perturbations: [upper]", asked).replace("min_valid", "tasks: {capitals.acc: 0.0}, min_valid")
    recipe = write_notes(root, text)
    (root / "base_models.yaml").write_text(CATALOGUE.format(path=model))
    (root / "fleet.yaml").write_text(FLEET)
    return recipe


def project_of(root: Path) -> Project:
    return Project(Settings(root=root, home=root.parent / "home", recipes=root, compute="float32:eager:1"))


def test_tasks_stand_between_the_candidate_and_its_scorecard(tmp_path: Path, tiny_model: Path) -> None:
    """The graph, and the worker's stage on real weights, without a run."""
    recipe = write(tmp_path / "project", tiny_model, "http://127.0.0.1:9/v1")
    project = project_of(tmp_path / "project")
    with described(project):
        graph = build(project).resolve_asset_graph()
        parents = {key.path[-1]: {p.path[-1] for p in graph.get(key).parent_keys} for key in graph.get_all_asset_keys()}
        assert parents["stock_tasks"] == {"tiny", "splits", "quantized_model"}
        assert "stock_tasks" in parents["scorecard"]
        assert "gate_task_capitals_acc" in {check.name for check in graph.asset_check_keys}
        model = project.store.once(BaseModelRecord, "b" * 64, lambda folder: copied(tiny_model, folder))
        options = {"recipe": recipe.model_dump(mode="json")}
        found = {one.name: one for one in read_metrics(perform("stock", project.settings, {"model": model}, options))}
    assert set(found) == {"capitals.acc", "capitals.brier_score"}
    assert found["capitals.acc"].value == sum(found["capitals.acc"].right) / 6


@pytest.mark.slow
def test_generation_from_recipe_to_report(tmp_path: Path, tiny_model: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GENERALIST_KEY", KEY)
    with chat_server(lambda text, _: f"send the {text.split()[-1]} number 1 today") as chat:
        recipe = write(tmp_path / "project", tiny_model, chat.url)
        project = project_of(tmp_path / "project")
        with described(project):
            assert run_recipe(recipe, project).failed is None
    card = latest("tiny_notes", "scorecard", project).record
    assert [c.name for c in card.contestants] == ["majority", "base", "generalist", "specialist", "bnb-nf4"]
    assert (card.task, card.metric) == ("generation", "rouge_l")
    assert card.generalist.usd_per_1k == pytest.approx(2.0) and len(chat.asked) == card.generalist.rows
    assert [s.name for s in card.stock] == ["capitals.acc", "capitals.brier_score"]
    checks = {c.name: c.passed for c in latest("tiny_notes", "decision", project).record.checks}
    assert checks["task capitals.acc"]
    html = (latest("tiny_notes", "report", project).path / "report.html").read_text()
    assert "ROUGE-L" in html and 'id="generalist"' in html and 'id="stock"' in html
