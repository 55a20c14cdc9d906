"""Importing the room is cheap: MLflow and torch take seconds and wait until they are needed."""

import subprocess
import sys

from supply_chain.settings import PROJECT

LIGHT = [
    "adapters", "aliases", "approval", "bom", "canonical", "card", "check", "checks", "decisions", "decoding",
    "delivery",
    "documents", "evidence", "fleet", "gate", "generations", "lifecycle", "mail", "manifest", "optional_checks",
    "package", "past", "release", "rivals", "routing", "seen", "server", "signing", "terms", "tracking",
    "verification", "versions",
]  # fmt: skip


def test_mlflow_and_torch_wait():
    code = "import sys\n" + "".join(f"import registry.{name}\n" for name in LIGHT)
    code += "print({'mlflow', 'torch', 'transformers', 'dagster'} & sys.modules.keys())"
    result = subprocess.run([sys.executable, "-c", code], cwd=PROJECT, capture_output=True, text=True, check=True)
    assert result.stdout == "set()\n"


def test_the_list_is_whole():
    found = {path.stem for path in (PROJECT / "registry").glob("*.py")} - {"__init__", "pyfunc"}
    assert found == set(LIGHT)
