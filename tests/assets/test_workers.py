"""Workers are forked from a process that has loaded the libraries, and begin with nothing but these."""

import os
from pathlib import Path
from typing import Any

import pytest
from dagster._core.errors import DagsterPipesExecutionError

from assets.stages import shares_imports
from assets.workers import fork_server
from supply_chain.llama_cpp import FILE
from supply_chain.store import Record, Stored


def test_a_killed_fork_server_ends_its_step_and_the_next_one_starts_another() -> None:
    server = fork_server()
    server.process.kill()
    with pytest.raises(DagsterPipesExecutionError, match="the process that starts workers has ended"):
        server.perform(dict(os.environ))
    assert fork_server() is not server


@pytest.mark.parametrize(
    ("stage", "options", "file", "shared"),
    [
        ("adapter", {}, None, True),
        ("base", {"base": {"source": {"kind": "package"}}}, None, True),
        ("base", {"base": {"source": {"kind": "hf"}}}, None, False),
        ("baseline", {}, None, False),
        ("model", {}, "model.safetensors", True),
        ("model", {}, FILE, False),
    ],
)
def test_what_asks_a_hub_or_does_without_torch_starts_alone(
    stage: str, options: dict[str, Any], file: str | None, shared: bool, tmp_path: Path
) -> None:
    inputs = {}
    if file:
        (tmp_path / file).touch()
        inputs["model"] = Stored("key", Record(), tmp_path, {}, "digest")
    assert shares_imports(stage, inputs, options) is shared
