"""Each extra installs by the very line that its error message gives, and the core installs without any of them."""

import os
import re
import shutil
import subprocess
import sys
import tomllib
from importlib.metadata import Distribution, distribution
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from supply_chain.formats.extras import _LIBRARIES, line_of
from supply_chain.settings import PROJECT

DECLARED = tomllib.loads((PROJECT / "pyproject.toml").read_text())["project"]
EXTRAS: dict[str, list[str]] = DECLARED["optional-dependencies"]
ROOMS = ("supply_chain", "evals", "registry", "review", "assets")
MODULES = {
    "pii": "presidio_analyzer",
    "noise": "cleanlab",
    "language": "py3langid",
    "endpoint": "tenacity",
    "sql": "psycopg2",
    **{extra: module for extra, (_, module) in _LIBRARIES.items()},
}
"""What the code imports of each extra."""
ELSEWHERE = {"registry/router/litellm.py", "assets/definitions.py"}
"""What LiteLLM's proxy and Dagster load."""
LINE = re.compile(r"pip install '\.\[([a-z,{}-]+)\]'")


def lines() -> dict[str, list[str]]:
    """Every line that a message gives, with the extras it names."""
    texts = [path.read_text() for room in ROOMS for path in sorted((PROJECT / room).rglob("*.py"))]
    named = {found for text in texts for found in LINE.findall(text) if "{" not in found}
    filled_in = {line_of(extra): [extra] for extra in _LIBRARIES}  # when the message is made
    return {f"pip install '.[{name}]'": name.split(",") for name in sorted(named)} | filled_in


def names(requirements: list[str]) -> set[str]:
    return {canonicalize_name(Requirement(one).name) for one in requirements}


def test_every_line_of_a_message_names_extras_that_there_are() -> None:
    found = lines()
    assert "pip install '.[gguf]'" in found and "pip install '.[pii,noise,language]'" in found
    assert {extra for line, extras in found.items() for extra in extras if ".[" in line} <= EXTRAS.keys()
    assert {extra for extras in found.values() for extra in extras} == MODULES.keys()
    for extra, (package, _) in _LIBRARIES.items():
        told = names(EXTRAS[extra]) if extra in EXTRAS else line_of(extra)
        assert canonicalize_name(package) in told
    assert line_of("executorch").removeprefix("pip install") in (PROJECT / "Makefile").read_text()  # for the slow tests


def test_nothing_of_an_extra_is_asked_for_by_the_core() -> None:
    optional = {
        name for extra, found in EXTRAS.items() if extra not in ("dev", "bench", "docs") for name in names(found)
    }
    core = names(DECLARED["dependencies"])
    assert not optional & core


def closure(wanted: list[str]) -> dict[str, Distribution]:
    """The installed distributions that some requirements ask for, and what those ask for, by name."""
    found: dict[str, Distribution] = {}
    queue = [Requirement(one) for one in wanted]
    while queue:
        one = queue.pop()
        name, seen = canonicalize_name(one.name), {"extra": ""}
        if name in found and not one.extras:
            continue
        found[name] = distribution(name)
        for text in found[name].requires or []:
            more = Requirement(text)
            asked = [seen, *({"extra": extra} for extra in one.extras)]
            if more.marker is None or any(more.marker.evaluate(extra) for extra in asked):
                queue += [more] if canonicalize_name(more.name) not in found else []
    return found


def core_alone(folder: Path) -> Path:
    """The Python of a new environment that sees the core's distributions, as they are installed here, and no others."""
    subprocess.run([sys.executable, "-m", "venv", str(folder)], check=True)
    (seen := folder / "core").mkdir()
    for one in closure(DECLARED["dependencies"]).values():
        for top in {Path(str(file)).parts[0] for file in one.files or []} - {"..", "__pycache__"}:
            source = Path(str(one.locate_file(top)))
            if source.exists() and not (seen / top).exists():
                (seen / top).symlink_to(source)
    site = next((folder / "lib").glob("python*/site-packages"))
    (site / "core.pth").write_text(f"{seen}\n")
    return folder / "bin/python"


def run(python: Path, command: str, place: Path = PROJECT) -> None:
    environment = {**os.environ, "PATH": f"{python.parent}:{os.environ['PATH']}", "PYTHONPATH": ""}
    told = {"cwd": place, "env": environment, "capture_output": True, "text": True}
    done = subprocess.run(command, shell=True, check=False, **told)
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-2000:]


@pytest.mark.slow
def test_the_core_loads_alone(tmp_path: Path) -> None:
    optional = {module.partition(".")[0] for module in MODULES.values()}
    modules = [
        ".".join(path.relative_to(PROJECT).with_suffix("").parts)
        for room in ROOMS
        for path in sorted((PROJECT / room).rglob("*.py"))
        if path.name != "__init__.py" and path.relative_to(PROJECT).as_posix() not in ELSEWHERE
    ]
    text = (
        "import importlib, importlib.util as u\n"
        f"there = [name for name in {sorted(optional)} if u.find_spec(name)]\n"
        "assert not there, there\n"
        f"for name in {modules}: importlib.import_module(name)\n"
    )
    (tmp_path / "load.py").write_text(text)
    run(core_alone(tmp_path / "clean"), f"PYTHONPATH={PROJECT} python {tmp_path / 'load.py'}")


@pytest.mark.slow
@pytest.mark.parametrize("line", lines())
def test_the_line_installs_what_was_missing(tmp_path: Path, line: str) -> None:
    python = core_alone(tmp_path / "clean")
    wanted = [MODULES[extra] for extra in lines()[line]]
    for module in wanted:
        run(python, f"! python -c 'import {module}' 2>/dev/null")
    shutil.copytree(PROJECT, tmp_path / "project", ignore=shutil.ignore_patterns(".*", "build", "benchmarks", "tests"))
    run(python, line, tmp_path / "project")  # pip builds in the folder that it is shown
    for module in wanted:
        run(python, f"python -c 'import {module}'")
