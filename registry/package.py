"""What a release leaves in MLflow: params, metrics, data set, evidence files and a model that loads."""

import shutil
import warnings
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pydantic import BaseModel

import registry
import supply_chain
from registry.evidence import Documents, Evidence
from supply_chain.identity import canonical_json
from supply_chain.recipe import Recipe
from supply_chain.records import Artifact
from supply_chain.store import Store, Stored

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from mlflow.entities import DatasetInput, LoggedModel, Run

_REQUIREMENTS = [
    "torch", "transformers", "accelerate", "bitsandbytes", "safetensors", "pandas", "pydantic", "pydantic-settings",
    "pyyaml", "fsspec", "filelock", "numpy",
]  # fmt: skip
_FIGURES = (
    "p50_ms", "p95_ms", "decisions_per_second", "size_bytes", "peak_memory_bytes", "usd_per_month",
)  # fmt: skip


def log_evidence(
    client: "MlflowClient", run: "Run", recipe: Recipe, evidence: Evidence, documents: Stored[Documents]
) -> None:
    """Params, metrics, data set and files of a release. What another attempt logged is not doubled."""
    from mlflow.entities import Metric, Param  # noqa: PLC0415

    run_id = run.info.run_id
    params = [Param(k, v) for k, v in flat(recipe).items() if k not in run.data.params]
    for start in range(0, len(params), 100):
        client.log_batch(run_id, params=params[start : start + 100])
    # The run's own start as time: MLflow drops an equal metric, so that a second attempt adds nothing.
    metrics = [Metric(k, v, run.info.start_time, 0) for k, v in figures(evidence).items()]
    for start in range(0, len(metrics), 1000):
        client.log_batch(run_id, metrics=metrics[start : start + 1000])
    for stored in (evidence.scorecard, evidence.decision, evidence.report, documents):
        client.log_artifacts(run_id, str(stored.path), stored.record.kind)
    client.log_inputs(run_id, [_data(recipe, evidence.scorecard.record.splits_digest)])


def log_model(client: "MlflowClient", run: "Run", artifact: Stored[Artifact], store: Store) -> str:
    """Uploads the artifact as a model of `run`, once; returns its id. Clears what a killed attempt left."""
    from mlflow.entities import LoggedModelOutput  # noqa: PLC0415

    run_id, experiment_id = run.info.run_id, run.info.experiment_id
    # Beside the store, not in the system's own folder for such files: weights may not fit there.
    folder = store.root / "tmp" / f"model-{run_id}"
    shutil.rmtree(folder, ignore_errors=True)  # left by a killed process; the lock is ours
    for model in client.search_logged_models([experiment_id], f"source_run_id = '{run_id}'"):
        if model.status == "READY":
            return str(model.model_id)
        client.delete_logged_model(model.model_id)
        if model.artifact_location.startswith("/"):
            shutil.rmtree(Path(model.artifact_location).parent, ignore_errors=True)
    try:
        model = client.create_logged_model(experiment_id, "specialist", run_id)
        _save(model, run_id, artifact, folder)
        client.log_model_artifacts(model.model_id, str(folder / "model"))
        client.log_outputs(run_id, [LoggedModelOutput(model.model_id, step=0)])
        client.finalize_logged_model(model.model_id, "READY")
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    return str(model.model_id)


def _save(model: "LoggedModel", run_id: str, artifact: Stored[Artifact], folder: Path) -> None:
    """Writes `folder / "model"` in MLflow's format. Not `mlflow.transformers`: it may lose weights silently."""
    import mlflow.pyfunc  # noqa: PLC0415
    from mlflow.models import Model, ModelSignature  # noqa: PLC0415
    from mlflow.types import ColSpec, Schema  # noqa: PLC0415

    with warnings.catch_warnings():
        # An example would make MLflow load the whole model to try it; the signature says enough.
        warnings.filterwarnings("ignore", message=".*input example.*")
        mlflow.pyfunc.save_model(
            path=str(folder / "model"),
            mlflow_model=Model(model.artifact_location, run_id, model_uuid=model.model_id, model_id=model.model_id),
            loader_module="registry.pyfunc",
            data_path=str(artifact.path),
            code_paths=_code(folder / "code"),
            signature=ModelSignature(
                Schema([ColSpec("string", "text")]),
                Schema([ColSpec("string", "label"), ColSpec("double", "confidence"), ColSpec("boolean", "escalate")]),
            ),
            pip_requirements=[f"{name}=={version(name).partition('+')[0]}" for name in _requirements(artifact.record)],
        )


def _requirements(artifact: Artifact) -> list[str]:
    more = ["jinja2", "cyllama"] if artifact.runtime.startswith("cyllama") else []
    more += [name for name in ("compressed-tensors", "onnxruntime", "mlx-lm", "executorch") if name in artifact.runtime]
    return [*_REQUIREMENTS, *more]


def _data(recipe: Recipe, splits_digest: str) -> "DatasetInput":
    from mlflow.entities import Dataset, DatasetInput, InputTag  # noqa: PLC0415

    source = {"tags": {"source": canonical_json(recipe.data.source), "license": recipe.data.license}}
    data = Dataset(f"{recipe.name} splits", splits_digest[:36], "code", canonical_json(source))  # 36 is MLflow's most
    return DatasetInput(data, [InputTag("mlflow.data.context", "evaluation"), InputTag("splits_digest", splits_digest)])


def figures(evidence: Evidence) -> dict[str, float]:
    """Every contestant's figures by `contestant/figure`; estimates have `_low` and `_high` beside them."""
    found = {}
    for contestant in evidence.scorecard.record.contestants:
        for name, estimate in {**contestant.metrics, "usd_per_1k": contestant.usd_per_1k}.items():
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
