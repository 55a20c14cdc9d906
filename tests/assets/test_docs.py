"""The documents keep their promises: every command in them exists, links lead somewhere, references are up to date."""

import re
import shlex
from pathlib import Path

import pytest
import yaml
from typer.main import get_command

from assets.cli import app
from assets.reference import pages
from benchmarks.compare import with_table
from supply_chain.settings import PROJECT
from tests.assets.documents import DOCUMENTS

CODE = re.compile(r"`(supply-chain [^`]+)`")


def commands(document: Path) -> list[str]:
    """Every call of `supply-chain` amid text; those in blocks are looked at in `test_doc_commands.py`."""
    return CODE.findall(document.read_text(encoding="utf-8"))


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda p: p.name)
def test_every_command_is_one(document: Path) -> None:
    root = get_command(app)
    for text in commands(document):
        words = [word.strip("[],") for word in shlex.split(text.partition("  #")[0].partition(" · ")[0])[1:]]
        command, path = root, []
        while words and hasattr(command, "commands") and words[0] in command.commands:
            command = command.commands[words[0]]
            path.append(words.pop(0))
        assert path, f"{document.name}: {text}"
        known = {option for parameter in command.params for option in parameter.opts}
        given = {word.partition("=")[0] for word in words if word.startswith("--")}
        assert given <= known | {"--help"}, f"{document.name}: {text}"


def test_the_commands_are_found() -> None:
    found = [command for document in DOCUMENTS for command in commands(document)]
    assert len(found) > 30 and "supply-chain status" in found


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda p: p.name)
def test_links_lead_somewhere(document: Path) -> None:
    for target in re.findall(r"\]\(([^)#\s]+)[^)]*\)", document.read_text(encoding="utf-8")):
        assert "://" in target or (document.parent / target).exists(), f"{document.name}: {target}"


def test_the_references_are_those_of_the_schemas() -> None:
    for path, text in pages().items():
        assert path.read_text(encoding="utf-8") == text, "python -m assets.reference"


def test_the_site_names_every_document() -> None:
    site = yaml.safe_load((PROJECT / "mkdocs.yml").read_text())
    named = set(re.findall(r"[\w/]+\.md", str(site["nav"])))
    assert named == {p.relative_to(PROJECT / "docs").as_posix() for p in (PROJECT / "docs").rglob("*.md")}


def test_readmes_figures_are_those_of_the_results() -> None:
    text = (PROJECT / "README.md").read_text(encoding="utf-8")
    assert with_table(text) == text, "python -m benchmarks.compare"


def test_pictures_are_small() -> None:
    """Larger ones make a page wait."""
    assert {p.name: p.stat().st_size for p in (PROJECT / "docs/pictures").iterdir() if p.stat().st_size > 200_000} == {}
