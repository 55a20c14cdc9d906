"""The house's promises: imports point one way, and heavy libraries stay in their rooms."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
MAY_IMPORT = {
    "supply_chain": set(),
    "evals": {"supply_chain"},
    "registry": {"supply_chain", "evals"},
    "review": {"supply_chain", "evals", "registry"},
    "assets": {"supply_chain", "evals", "registry", "review"},
}
ROOMS = set(MAY_IMPORT)
FILES = sorted(path for room in ROOMS for path in (ROOT / room).rglob("*.py"))


def imported(path: Path) -> set[str]:
    found = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            found |= {alias.name.partition(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: relative import"
            found.add(str(node.module).partition(".")[0])
    return found


@pytest.mark.parametrize("path", FILES, ids=lambda p: str(p.relative_to(ROOT)))
def test_imports_point_one_way(path: Path) -> None:
    room, names = path.relative_to(ROOT).parts[0], imported(path)
    assert not (names & ROOMS) - MAY_IMPORT[room] - {room}
    if room != "assets":
        assert "dagster" not in names
    if room != "registry":
        assert "mlflow" not in names
    if path.relative_to(ROOT).as_posix() not in {"evals/engine.py"} and room != "supply_chain":
        assert not names & {"torch", "transformers", "peft", "trl"}


def test_the_worker_needs_dagster_pipes_only() -> None:
    seen: set[Path] = set()
    queue = [ROOT / "assets/worker.py"]
    while queue:
        path = queue.pop()
        if path in seen:
            continue
        seen.add(path)
        assert "dagster" not in imported(path), path
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.ImportFrom) and str(node.module).partition(".")[0] in ROOMS:
                target = ROOT / str(node.module).replace(".", "/")
                queue.extend(p for p in (target.with_suffix(".py"), target / "__init__.py") if p.exists())
    assert len(seen) > 20


def test_no_command_waits_for_what_it_does_not_use() -> None:
    heavy = {"torch", "transformers", "datasets", "mlflow", "pandas", "polars", "scipy.stats", "sklearn"}
    code = f"import sys, assets.cli, assets.definitions; print({heavy} & sys.modules.keys())"
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout == "set()\n"


def test_no_file_is_called_after_nothing() -> None:
    assert not [p for p in FILES if p.stem in {"utils", "util", "helpers", "common", "misc"}]
