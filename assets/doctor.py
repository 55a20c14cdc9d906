"""Whether this machine can do the work: what is there, what is missing, what to do about it."""

import importlib.metadata
import os
import platform
import re
import shutil
import sys
from dataclasses import dataclass

import psutil

from assets.project import Project
from registry.release import releases
from supply_chain.errors import SupplyChainError
from supply_chain.recipe.load import load_recipes
from supply_chain.settings import PROJECT

_PACKAGES = ("torch", "transformers", "peft", "trl", "bitsandbytes", "lm-eval", "dagster", "mlflow")
_EXTRAS = {
    "pii": "presidio-analyzer",
    "noise": "cleanlab",
    "language": "py3langid",
    "sql": "sqlalchemy",
    "endpoint": "tenacity",
    "gguf": "cyllama",
    "docs": "mkdocs-material",
}
_DISK_GB, _MEMORY_GB = 5.0, 4.0


@dataclass(frozen=True)
class Finding:
    """One thing looked at: `cure` says what to do, and is None when all is well."""

    what: str
    found: str
    cure: str | None = None


def examine(project: Project) -> list[Finding]:
    """Looks at Python, packages, processor, GPU, memory, disk, project, store and tracking server."""
    return [
        Finding("python", f"{platform.python_version()} in {sys.prefix}"),
        *(_package(name) for name in _PACKAGES),
        lock(PROJECT / "constraints.txt"),
        Finding("extras", ", ".join(name for name, package in _EXTRAS.items() if _version(package)) or "none"),
        _threads(project),
        _gpu(),
        _memory(),
        _disk(project),
        _project(project),
        _store(project),
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


def lock(path: os.PathLike[str]) -> Finding:
    """Whether what is installed has the versions of the lock file; what is not installed is no fault."""
    with open(path, encoding="utf-8") as file:  # noqa: PTH123 (any path)
        locked = dict(re.findall(r"^([\w.-]+)==(\S+)", file.read(), re.MULTILINE))
    there = {name: found for name in locked if (found := _version(name)) is not None}
    other = [f"{name} {there[name]} ({locked[name]})" for name in there if there[name].split("+")[0] != locked[name]]
    if not other:
        return Finding("lock", f"{len(there)} packages, each as in constraints.txt")
    return Finding("lock", f"not as in constraints.txt: {', '.join(other)}", "touch constraints.txt && make setup")


def _threads(project: Project) -> Finding:
    load, how, cores = os.getloadavg()[0], project.settings.compute or "what measures best", project.settings.cores
    told = f", OMP_NUM_THREADS={os.environ['OMP_NUM_THREADS']}" if os.environ.get("OMP_NUM_THREADS") else ""
    return Finding("threads", f"{cores} core{'s' * (cores > 1)}{told}, load {load:.1f}; training uses {how}")


def _gpu() -> Finding:
    from supply_chain.compute import accelerator  # noqa: PLC0415 (torch: 2 s)

    found = accelerator()
    if found is None and shutil.which("nvidia-smi"):
        return Finding("gpu", "there is a driver, but torch sees no GPU", "install a torch build for your CUDA version")
    return Finding("gpu", found or "none: everything runs on the processor")


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
        around = project.catalogue.surroundings(project.settings.root, project.settings.recipes)
        recipes, faulty = load_recipes(project.settings.recipes, around)
        counts = f"{len(recipes)} recipes, {len(project.catalogue.models)} base models, fleet {project.fleet.name}"
    except SupplyChainError as error:
        return Finding("project", str(error), "supply-chain validate")
    if faulty:
        return Finding("project", f"{counts}; at fault: {', '.join(sorted(faulty))}", "supply-chain validate")
    return Finding("project", counts)


def _store(project: Project) -> Finding:
    store = project.store
    try:
        store.probe()
        return Finding("store", f"{store.root}{f', shared in {store.remote}' if store.remote else ''} can be written")
    except SupplyChainError as error:
        return Finding("store", str(error), "see that it is there and yours: SUPPLY_CHAIN_HOME, SUPPLY_CHAIN_STORE")


def _tracking(project: Project) -> Finding:
    uri = project.settings.tracking_uri
    try:
        return Finding("tracking", f"{len(releases(project.settings))} model versions in {uri}")
    except SupplyChainError as error:
        return Finding("tracking", str(error), "start the server, or unset SUPPLY_CHAIN_MLFLOW_URI")
