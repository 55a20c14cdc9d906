"""Fixtures of the data room."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from data_project import Project, sentence


@pytest.fixture
def project(tmp_path: Path) -> Project:
    return Project(tmp_path)


@pytest.fixture
def rows() -> Callable[[int], list[dict[str, Any]]]:
    return lambda number: [{"text": sentence(n), "label": "ab"[n % 2]} for n in range(number)]
