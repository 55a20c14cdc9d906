"""Image and services as far as they can be checked where no container runs: linted, read by the specification."""

import re
import shutil
import subprocess
import sys
import tomllib
from typing import Any

import pytest
import yaml
from compose_spec import PyCompose

from supply_chain.settings import PROJECT

FILE = (PROJECT / "Dockerfile").read_text()
SERVICES: dict[str, Any] = yaml.safe_load((PROJECT / "compose.yaml").read_text())


def test_the_image_has_no_lint() -> None:
    hadolint = shutil.which("hadolint", path=f"{sys.prefix}/bin")
    assert hadolint, "make setup"
    done = subprocess.run([hadolint, "--no-color", PROJECT / "Dockerfile"], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (0, "")


def test_the_image_is_made_from_the_lock() -> None:
    (listing,) = re.findall(r'python -c "([^"]+)"', FILE)
    listed = subprocess.run([sys.executable, "-c", listing], cwd=PROJECT, capture_output=True, text=True, check=True)
    assert (
        listed.stdout.splitlines() == tomllib.loads((PROJECT / "pyproject.toml").read_text())["project"]["dependencies"]
    )
    assert "pip install -c constraints.txt -r /tmp/core.txt" in FILE
    copied = [line[1:] for line in (PROJECT / ".dockerignore").read_text().splitlines() if line.startswith("!")]
    assert {"constraints.txt", "pyproject.toml"} <= set(copied)
    assert all((PROJECT / name).exists() for name in copied)


def test_the_services_are_what_compose_understands() -> None:
    found = PyCompose.from_yaml(yaml.safe_dump(SERVICES))
    found.validate_volumes()
    assert sorted(found.service_names()) == ["daemon", "review", "ui"]
    wrong = yaml.safe_dump(SERVICES).replace("security_opt:", "securty_opt:")
    with pytest.raises(ValueError, match="securty_opt"):
        PyCompose.from_yaml(wrong)


def test_the_services_run_commands_that_exist() -> None:
    services = SERVICES["services"]
    assert services["review"]["command"] == ["supply-chain", "review"]
    assert services["daemon"]["command"][:2] == ["dagster-daemon", "run"]
    assert all(port.startswith("127.0.0.1:") for one in services.values() for port in one.get("ports", []))
    assert re.search(r'CMD \["(dagster-webserver)"', FILE) and shutil.which(
        "dagster-webserver", path=f"{sys.prefix}/bin"
    )
