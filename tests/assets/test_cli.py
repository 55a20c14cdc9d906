"""The command line: exit codes, located messages, no traceback, nothing stored for wrong input."""

import json
import shutil
from pathlib import Path

import pytest
from typer.testing import CliRunner

from assets.cli import app, main
from assets.project import Project


def call(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], *args: str) -> tuple[int, str, str]:
    monkeypatch.setattr("sys.argv", ["supply-chain", *args])
    monkeypatch.setenv("COLUMNS", "200")
    with pytest.raises(SystemExit) as stopped:
        main()
    shown = capsys.readouterr()
    return int(stopped.value.code or 0), shown.out, shown.err


def edit(project: Project, *edits: tuple[str, str]) -> None:
    path = project.settings.recipes / "tiny_reviews.yaml"
    text = path.read_text()
    for old, new in edits:
        assert old in text
        text = text.replace(old, new)
    path.write_text(text)


@pytest.mark.parametrize("command", ["validate", "run"])
def test_three_faults_at_once(project: Project, monkeypatch, capsys, command: str) -> None:
    edit(project, ("rank: 2", "rnak: 2"), ("alpha: 4", "alpha: -4"), ("base: tiny", "base: tinny"))
    code, _, err = call(monkeypatch, capsys, command, "tiny_reviews")
    assert code == 2
    assert "3 faults" in err
    assert "train.lora.rnak: unknown key; did you mean rank?" in err
    assert "train.lora.alpha: must be at least 1, found -4" in err
    assert "base: unknown base model 'tinny'; known: tiny" in err
    assert "Traceback" not in err
    assert not project.store.root.exists()


def test_a_missing_data_file(project: Project, monkeypatch, capsys) -> None:
    (project.settings.root / "data/tiny_reviews.csv").unlink()
    code, _, err = call(monkeypatch, capsys, "run", "tiny_reviews")
    assert (code, "no such file" in err, "Traceback" in err) == (2, True, False)


def test_a_damaged_data_file(project: Project, monkeypatch, capsys) -> None:
    (project.settings.root / "data/tiny_reviews.csv").write_bytes(bytes(range(256)) * 10)
    code, _, err = call(monkeypatch, capsys, "run", "tiny_reviews")
    assert (code, "Traceback" in err) == (2, False)
    assert "curated_data: " in err
    assert list(project.store.root.glob("curated/*")) == []


def test_a_damaged_base_model(project: Project, monkeypatch, capsys, tmp_path: Path) -> None:
    model = Path(project.catalogue.get("tiny").source.path)
    copy = tmp_path / "copy"
    shutil.copytree(model, copy)
    (copy / "model.safetensors").write_bytes(b"broken")
    catalogue = project.settings.recipes / "base_models.yaml"
    catalogue.write_text(catalogue.read_text().replace(str(model), str(copy)))
    code, _, err = call(monkeypatch, capsys, "run", "tiny_reviews")
    assert (code, "Traceback" in err) == (2, False)
    assert "error" in err
    assert list(project.store.root.glob("base/*")) == []


def test_an_unknown_recipe_names_those_there_are(project: Project, monkeypatch, capsys) -> None:
    code, _, err = call(monkeypatch, capsys, "run", "nothing")
    assert code == 2
    assert "no recipe 'nothing'" in err
    assert "tiny_reviews" in err


def test_before_the_first_run(project: Project, monkeypatch, capsys) -> None:
    assert call(monkeypatch, capsys, "report", "tiny_reviews")[0] == 2
    assert call(monkeypatch, capsys, "manifest")[0] == 2
    code, out, _ = call(monkeypatch, capsys, "status", "--json")
    assert code == 0
    assert json.loads(out)[0]["last decision"] == "never run"


def test_after_a_run_everything_is_shown(made_once: Project, monkeypatch, capsys) -> None:
    code, out, _ = call(monkeypatch, capsys, "models", "--json")
    assert code == 0
    assert json.loads(out)[-1]["model"] == "tiny_reviews"
    code, out, _ = call(monkeypatch, capsys, "manifest", "--json")
    assert json.loads(out)["routes"][0]["task"] == "tiny-reviews"
    code, out, _ = call(monkeypatch, capsys, "report", "tiny_reviews", "--json")
    assert json.loads(out)
    code, out, _ = call(monkeypatch, capsys, "data", "list", "--json")
    key = json.loads(out)[0]["key"]
    code, out, _ = call(monkeypatch, capsys, "data", "diff", key, key, "--json")
    assert (code, json.loads(out)["added"]) == (0, 0)


def test_every_command_explains_itself() -> None:
    for command in ("validate", "run", "status", "models", "report", "manifest", "schema", "data"):
        result = CliRunner().invoke(app, [command, "--help"])
        assert result.exit_code == 0


def test_the_committed_json_schema_is_the_recipes() -> None:
    from supply_chain.recipe.load import schema_text
    from supply_chain.settings import PROJECT

    assert (PROJECT / "recipes/recipe.schema.json").read_text() == schema_text()
