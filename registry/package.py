"""What a release leaves in MLflow: params, metrics, data set, evidence files and a model that loads."""

import shutil
import tempfile
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pydantic import BaseModel

import registry
import supply_chain
from registry.evidence import Evidence
from supply_chain.identity import canonical_json
from supply_chain.recipe import Recipe
from supply_chain.records import Artifact
from supply_chain.store import Store, Stored

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from mlflow.entities import Run

_REQUIREMENTS = [
    "torch", "transformers", "accelerate", "bitsandbytes", "safetensors", "pandas", "pydantic", "pydantic-settings",
    "pyyaml", "fsspec", "filelock",
]  # fmt: skip
_FIGURES = (
    "p50_ms", "p95_ms", "decisions_per_second", "size_bytes", "peak_memory_bytes", "usd_per_month",
)  # fmt: skip


def log_evidence(client: "MlflowClient", run: "Run", recipe: Recipe, evidence: Evidence) -> None:
    """Params, metrics, data set and files of a release. What another attempt logged is not doubled."""
    import mlflow  # noqa: PLC0415
    from mlflow.data.code_dataset_source import CodeDatasetSource  # noqa: PLC0415
    from mlflow.data.meta_dataset import MetaDataset  # noqa: PLC0415
    from mlflow.entities import Metric, Param  # noqa: PLC0415

    run_id, card = run.info.run_id, evidence.scorecard.record
    params = [Param(k, v) for k, v in flat(recipe).items() if k not in run.data.params]
    for start in range(0, len(params), 100):
        client.log_batch(run_id, params=params[start : start + 100])
    # The run's own start as time: MLflow drops an equal metric, so that a second attempt adds nothing.
    metrics = [Metric(k, v, run.info.start_time, 0) for k, v in figures(evidence).items()]
    for start in range(0, len(metrics), 1000):
        client.log_batch(run_id, metrics=metrics[start : start + 1000])
    for stored, place in (
        (evidence.scorecard, "scorecard"),
        (evidence.decision, "decision"),
        (evidence.report, "report"),
    ):
        client.log_artifacts(run_id, str(stored.path), place)
    source = {"source": canonical_json(recipe.data.source), "license": recipe.data.license}
    data = MetaDataset(CodeDatasetSource(source), f"{recipe.name} splits", card.splits_digest[:36])
    with mlflow.start_run(run_id=run_id):
        mlflow.log_input(data, context="evaluation", tags={"splits_digest": card.splits_digest})


def log_model(client: "MlflowClient", run: "Run", artifact: Stored[Artifact], store: Store) -> str:
    """Uploads the artifact as a model of `run`, once; returns its id. Clears what a killed attempt left."""
    import mlflow.pyfunc  # noqa: PLC0415
    from mlflow.models import ModelSignature  # noqa: PLC0415
    from mlflow.types import ColSpec, Schema  # noqa: PLC0415

    for model in client.search_logged_models([run.info.experiment_id], f"source_run_id = '{run.info.run_id}'"):
        if model.status == "READY":
            return str(model.model_id)
        client.delete_logged_model(model.model_id)
        if model.artifact_location.startswith("/"):
            shutil.rmtree(Path(model.artifact_location).parent, ignore_errors=True)
    signature = ModelSignature(
        Schema([ColSpec("string", "text")]), Schema([ColSpec("string", "label"), ColSpec("double", "confidence")])
    )
    place = store.root / "tmp" / f"model-{run.info.run_id}"
    with _workplace(place) as folder, warnings.catch_warnings(), mlflow.start_run(run.info.run_id):
        # An example would make MLflow load the whole model to try it; the signature says enough.
        warnings.filterwarnings("ignore", message=".*input example.*")
        logged = mlflow.pyfunc.log_model(
            name="specialist",
            loader_module="registry.pyfunc",
            data_path=str(artifact.path),
            code_paths=_code(folder / "code"),
            signature=signature,
            pip_requirements=[f"{name}=={version(name).partition('+')[0]}" for name in _REQUIREMENTS],
        )
    return str(logged.model_id)


def figures(evidence: Evidence) -> dict[str, float]:
    """Every contestant's figures by `contestant/figure`; estimates have `_low` and `_high` beside them."""
    found = {}
    for contestant in evidence.scorecard.record.contestants:
        for name in ("accuracy", "macro_f1", "usd_per_1k"):
            estimate = getattr(contestant, name)
            found[f"{contestant.name}/{name}"] = estimate.mean
            found[f"{contestant.name}/{name}_low"] = estimate.low
            found[f"{contestant.name}/{name}_high"] = estimate.high
        found.update({f"{contestant.name}/{name}": float(getattr(contestant, name)) for name in _FIGURES})
    for change in evidence.scorecard.record.differences:
        name = f"difference/{change.contestant}-{change.against}"
        found.update({name: change.estimate.mean, f"{name}_low": change.estimate.low})
        found[f"{name}_high"] = change.estimate.high
    return found


def flat(value: Any, path: str = "") -> dict[str, str]:
    """A recipe's decisions by dotted path; mappings with keys of their author's stay whole, as JSON."""
    if isinstance(value, BaseModel):
        parts = {name: getattr(value, name) for name in type(value).model_fields}
    elif isinstance(value, list) and any(isinstance(item, BaseModel) for item in value):
        parts = {str(i): item for i, item in enumerate(value)}
    else:
        return {path: value if isinstance(value, str) else canonical_json(value)}
    return {
        name: text for part, item in parts.items() for name, text in flat(item, f"{path}.{part}".lstrip(".")).items()
    }


def _code(folder: Path) -> list[str]:
    """The packages that the served model imports: `supply_chain`, and of ours `registry/pyfunc.py` alone."""
    shutil.copytree(
        Path(supply_chain.__path__[0]), folder / "supply_chain", ignore=shutil.ignore_patterns("__pycache__")
    )
    (folder / "registry").mkdir()
    for name in ("__init__.py", "pyfunc.py"):
        shutil.copyfile(Path(registry.__path__[0]) / name, folder / "registry" / name)
    return [str(folder / "supply_chain"), str(folder / "registry")]


@contextmanager
def _workplace(folder: Path) -> Iterator[Path]:
    """A folder for MLflow's copies on the store's disk, for weights may not fit into the system's own."""
    shutil.rmtree(folder, ignore_errors=True)  # left by a killed process; the lock is ours
    folder.mkdir(parents=True)
    before, tempfile.tempdir = tempfile.tempdir, str(folder)
    try:
        yield folder
    finally:
        tempfile.tempdir = before
        shutil.rmtree(folder, ignore_errors=True)
