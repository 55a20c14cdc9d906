"""Every command in the documents runs here or, where that takes long or changes the machine, is checked word by word.

A command whose program no check knows is a failure, so that none escapes.
"""

import importlib.util
import os
import re
import subprocess
import sys
import tomllib
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any

import pytest
import yaml
from pydantic import TypeAdapter
from typer.main import get_command
from typer.testing import CliRunner

from assets.cli import app
from assets.project import Project
from registry.fleet import Fleet
from supply_chain.recipe import Recipe
from supply_chain.settings import PROJECT
from tests.assets.documents import DOCUMENTS, Block, Command, blocks, commands

LANGUAGES = {"bash", "yaml", "python", "text"}
EXTRAS = tomllib.loads((PROJECT / "pyproject.toml").read_text())["project"]["optional-dependencies"]
QUICK = {
    "validate", "explain", "status", "models", "report", "manifest", "history", "verify", "doctor", "clean", "data",
    "schema",
}  # fmt: skip
"""Commands of ours that run in the test: they read, or only list what they would do."""
NAMES = ("tickets", "review_sentiment")
SHELL = [command for command in commands() if command.words[0] != "supply-chain" or command.words[1] not in QUICK]
READING = [command for command in commands() if command not in SHELL]


def parsed(command: Any, words: tuple[str, ...], parent: Any = None) -> None:
    """Reads arguments as the command line would, down to the last subcommand. Raises its usage errors."""
    context = command.make_context(words[0], list(words[1:]), parent=parent)
    if getattr(command, "commands", None):
        rest = [*context._protected_args, *context.args]
        if rest:
            name, below, left = command.resolve_command(context, rest)
            parsed(below, (name, *left), context)


def ours(command: Command) -> None:
    if command.words[1:] != ("--install-completion",):
        parsed(get_command(app), command.words)


def make(command: Command) -> None:
    done = subprocess.run(["make", "-n", *command.words[1:]], cwd=PROJECT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def python(command: Command) -> None:
    words = command.words[1:]
    if words[0] == "-m":
        assert importlib.util.find_spec(words[1]), words[1]
        source = Path(str(importlib.util.find_spec(words[1]).origin))
    else:
        source = PROJECT / words[0]
    text = source.read_text()
    assert words[0] != "-m" or words[1] == "venv" or '__name__ == "__main__"' in text, f"{source} is no program"
    assert all(f'"{word}"' in text for word in words if word.startswith("--")), f"{source} has no such option"


def pip(command: Command) -> None:
    assert command.words[1] == "install"
    for word in command.words[2:]:
        extras = re.fullmatch(r"\.\[([\w,]+)\]", word)
        assert extras is None or set(extras[1].split(",")) <= set(EXTRAS), word
        if "==" in word:
            assert word in (PROJECT / "constraints.txt").read_text().splitlines(), f"the lock has no {word}"
        assert not word.endswith(".txt") or (PROJECT / word).is_file(), word


def docker(command: Command) -> None:
    services = yaml.safe_load((PROJECT / "compose.yaml").read_text())["services"]
    words = command.words[2:]
    assert command.words[1] == "compose" and words[0] in ("up", "run", "build", "config", "logs")
    if words[0] == "run":
        rest = [word for word in words[1:] if word != "--rm"]
        assert rest[0] in services, rest[0]
        ours(Command(command.block, tuple(rest[1:]), ()))


def litellm(command: Command) -> None:
    assert ".litellm/bin/pip install" in (PROJECT / "Makefile").read_text()
    assert command.words[1] == "--config"


def vllm(command: Command) -> None:
    """As our own compiler writes it; vLLM itself is not installed where tests run."""
    written = (PROJECT / "registry/compilers/vllm.py").read_text()
    assert command.words[1] == "serve"
    assert all(word in written for word in command.words if word.startswith("--"))


def environment(command: Command) -> None:
    assert command.words[1:] == (".venv/bin/activate",)


def exported(command: Command) -> None:
    assert re.fullmatch(r"[A-Z_]+=.+", command.words[1])


CHECKS: dict[str, Callable[[Command], None]] = {
    "supply-chain": ours,
    "make": make,
    "python": python,
    "python3": python,
    ".venv/bin/pip": pip,
    "pip": pip,
    "docker": docker,
    ".litellm/bin/litellm": litellm,
    "vllm": vllm,
    "source": environment,
    "export": exported,
}


def test_every_block_says_what_it_is() -> None:
    assert [str(block) for block in blocks() if block.language not in LANGUAGES] == []
    fences = sum(len(re.findall(r"^[ \t]*(?:```|~~~)", path.read_text(), re.MULTILINE)) for path in DOCUMENTS)
    assert fences == 2 * len(blocks()), "an indented fence would not be read"
    assert len(READING) > 5 and len(SHELL) > 20


@pytest.mark.parametrize("command", SHELL, ids=str)
def test_a_command_is_one(command: Command) -> None:
    assert command.words[0] in CHECKS, f"no test knows {command.words[0]}: teach one"
    CHECKS[command.words[0]](command)
    assert all(name in known_variables() for name in command.variables), command.variables


def known_variables() -> set[str]:
    """Environment variables that the code or its settings name."""
    from supply_chain.settings import Settings

    return {f"SUPPLY_CHAIN_{name.upper()}" for name in Settings.model_fields} | {"SUPPLY_CHAIN_MANIFEST", "PYTHONPATH"}


@pytest.mark.parametrize("command", READING, ids=str)
def test_a_command_runs(command: Command, made_once: Project, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)  # some write where they are typed
    words = ["tiny_reviews" if word in NAMES else word for word in command.words[1:]]
    done = CliRunner().invoke(app, words)
    allowed = (0, 1) if words[0] == "doctor" else (0,)  # it may find something on the machine that tests
    assert done.exit_code in allowed, f"{words}: {done.output} {done.exception!r}"
    assert done.exception is None or isinstance(done.exception, SystemExit)
    assert len(done.output) > 20


@pytest.mark.parametrize("block", [b for b in blocks() if b.language == "python"], ids=str)
def test_python_runs(block: Block, made_once: Project, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / ".supply_chain").symlink_to(made_once.settings.home)
    monkeypatch.chdir(tmp_path)
    exec(compile(block.text, str(block.document), "exec"), {})


@pytest.mark.parametrize("block", [b for b in blocks() if b.language == "yaml"], ids=str)
def test_yaml_fits_its_schema(block: Block) -> None:
    """Each key of a recipe or of the fleet policy, over the default recipe's own where it is only a part."""
    whole = yaml.safe_load((PROJECT / "recipes/review_sentiment.yaml").read_text())
    for key, value in yaml.safe_load(block.text).items():
        model = Recipe if key in Recipe.model_fields else Fleet
        info = model.model_fields[key]
        partly = key in ("data", "evaluate", "promote", "route") and model is Recipe
        TypeAdapter(Annotated[info.annotation, info]).validate_python({**whole[key], **value} if partly else value)


def test_a_renamed_option_would_show() -> None:
    block = blocks()[0]
    with pytest.raises(Exception, match="No such option"):
        ours(Command(block, ("supply-chain", "init", "x", "--dat", "y"), ()))
    with pytest.raises(Exception, match="No such command"):
        ours(Command(block, ("supply-chain", "reveiw"), ()))
    with pytest.raises(AssertionError):
        make(Command(block, ("make", "nothing-like-it"), ()))
    with pytest.raises(AssertionError):
        pip(Command(block, ("pip", "install", ".[nonsense]"), ()))


def test_the_shell_can_complete(tmp_path: Path, made_once: Project) -> None:
    """What bash asks when a person presses the tabulator."""
    program = "import sys; sys.argv = ['supply-chain']; from assets.cli import main; main()"
    for typed, expected in (("supply-chain expl", "explain"), ("supply-chain run tin", "tiny_reviews")):
        words = {"COMP_WORDS": typed, "COMP_CWORD": str(typed.count(" ")), "_SUPPLY_CHAIN_COMPLETE": "complete_bash"}
        done = subprocess.run(
            [sys.executable, "-c", program],
            cwd=PROJECT,
            env={**os.environ, **words},
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.stdout.split() == [expected], done.stderr
