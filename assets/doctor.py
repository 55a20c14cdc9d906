"""Whether this machine can do the work: what is there, what is missing, what to do about it."""

import importlib.metadata
import platform
import shutil
import sys
from dataclasses import dataclass

import psutil

from assets.project import Project
from registry.release import releases
from supply_chain.errors import SupplyChainError

_PACKAGES = ("torch", "transformers", "peft", "trl", "bitsandbytes", "lm-eval", "dagster", "mlflow")
_EXTRAS = {"pii": "presidio-analyzer", "noise": "cleanlab", "language": "py3langid", "sql": "sqlalchemy"}
_DISK_GB, _MEMORY_GB = 5.0, 4.0


@dataclass(frozen=True)
class Finding:
    """One thing looked at: `cure` says what to do, and is None when all is well."""

    what: str
    found: str
    cure: str | None = None


def examine(project: Project) -> list[Finding]:
    """Looks at Python, packages, processor, memory, disk, project, store and tracking server."""
    return [
        Finding("python", f"{platform.python_version()} in {sys.prefix}"),
        *(_package(name) for name in _PACKAGES),
        Finding("extras", ", ".join(name for name, package in _EXTRAS.items() if _version(package)) or "none"),
        Finding("compute", _compute(project)),
        _memory(),
        _disk(project),
        _project(project),
        _tracking(project),
    ]


def _version(package: str) -> str | None:
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return None


def _package(name: str) -> Finding:
    version = _version(name)
    return Finding(name, version or "missing", None if version else "make setup")


def _compute(project: Project) -> str:
    from supply_chain.compute import accelerator  # noqa: PLC0415 (torch: 2 s)

    gpu, how = accelerator() or "no GPU", project.settings.compute or "what measures best"
    return f"{project.settings.cores} cores, {gpu}; training uses {how}"


def _memory() -> Finding:
    free_gb = psutil.virtual_memory().available / 2**30
    cure = None if free_gb >= _MEMORY_GB else f"the default recipe needs {_MEMORY_GB:.0f} GB: close something"
    return Finding("memory", f"{free_gb:.1f} GB available", cure)


def _disk(project: Project) -> Finding:
    home = project.settings.home
    free_gb = shutil.disk_usage(next(p for p in (home, *home.parents) if p.exists())).free / 2**30
    cure = None if free_gb >= _DISK_GB else f"a first run needs {_DISK_GB:.0f} GB: free some, or set SUPPLY_CHAIN_HOME"
    return Finding("disk", f"{free_gb:.1f} GB free for {home}", cure)


def _project(project: Project) -> Finding:
    try:
        return Finding("project", f"{len(project.catalogue.models)} base models, fleet {project.fleet.name}")
    except SupplyChainError as error:
        return Finding("project", str(error), "supply-chain validate")


def _tracking(project: Project) -> Finding:
    uri = project.settings.tracking_uri
    try:
        return Finding("mlflow", f"{len(releases(project.settings))} model versions in {uri}")
    except SupplyChainError as error:
        return Finding("mlflow", str(error), "start the server, or unset SUPPLY_CHAIN_MLFLOW_URI")
