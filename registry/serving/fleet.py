"""One generation, served here: its specialists in one process, LiteLLM's proxy with our router in another.

A copy of the manifest is served, so that a later generation never reaches weights of this one.
"""

import os
import secrets
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path

from registry.compilers import compiler
from registry.compilers.places import FILE, variable_of
from registry.generations import CURRENT, folder
from registry.routing import Model, RoutingManifest
from registry.serving.children import HERE, Children, free_port
from registry.serving.process import Spoken
from registry.signing import trusted, verify
from supply_chain.errors import EvidenceMismatch, InvalidInput, Unavailable
from supply_chain.records import Artifact, BaseModelRecord
from supply_chain.settings import PROJECT, Settings
from supply_chain.store import Store

LITELLM = PROJECT / ".litellm/bin/litellm"
_KEY = "LITELLM_MASTER_KEY"
_QUIET = {"LITELLM_LOCAL_MODEL_COST_MAP": "True", "NO_PROXY": HERE, "no_proxy": HERE, "OMP_NUM_THREADS": "1"}


@dataclass(frozen=True)
class Plan:
    """What is to be served: a verified generation, its bytes as signed, and the models' folders."""

    manifest: RoutingManifest
    signed: bytes
    specialists: dict[str, Path]
    stand_in: Path | None
    """A base model that answers as the fleet's generalist; None: its own endpoint does."""
    litellm: Path
    port: int


@dataclass(frozen=True)
class Served:
    """Where callers reach what runs."""

    proxy: str
    specialists: str
    key: str
    children: Children


def plan_of(settings: Settings, store: Store, litellm: Path, port: int, demo: bool) -> Plan:
    """What serving the generation in force takes.

    Raises InvalidInput without a generation, CorruptData for one that was edited, EvidenceMismatch for other
    bytes than it names, and Unavailable that names everything that is missing, with the commands that bring it.
    """
    path = folder(settings) / CURRENT
    if not path.is_file():
        raise InvalidInput(f"no manifest was published yet ({path}): supply-chain run RECIPE")
    signed = path.read_bytes()
    manifest = verify(signed, trusted(settings), str(path))
    if not manifest.models:
        raise InvalidInput(f"generation {manifest.generation} has no champion to serve: supply-chain run RECIPE")
    found = {model.name: _weights(model, store) for model in manifest.models}
    external = bool(os.environ.get(manifest.fallback.url_env))
    stand_in = _base(manifest, store) if demo and not external else None
    missing = [
        *([] if external or stand_in else [_needs_generalist(manifest, demo)]),
        *([] if os.access(litellm, os.X_OK) else [f"LiteLLM's proxy, {litellm}: make litellm"]),
        *([] if find_spec("cyllama") or not any((p / FILE).exists() for p in found.values() if p)
          else ["llama.cpp for GGUF weights: pip install '.[gguf]'"]),
        *(f"the weights of {name}: set SUPPLY_CHAIN_STORE to where they are, or supply-chain run {name}"
          for name, path in found.items() if path is None),
    ]  # fmt: skip
    if missing:
        raise Unavailable("cannot serve; missing:\n" + "\n".join(f"  {one}" for one in missing))
    here = {name: path.resolve() for name, path in found.items() if path}
    return Plan(manifest, signed, here, stand_in and stand_in.resolve(), litellm.absolute(), port)


@contextmanager
def serving(plan: Plan) -> Iterator[Served]:
    """Runs until the block ends, and then stops everything. Raises InvalidInput for a port that is taken,

    Unavailable when a process ends before it answers.
    """
    free_port(plan.port)
    with tempfile.TemporaryDirectory(prefix="supply-chain-serve-") as name, Children(Path(name)) as children:
        work, port = Path(name), free_port()
        last = plan.manifest.fallback
        chatting = {last.name: plan.stand_in} if plan.stand_in else {}
        told = Spoken(port=port, specialists=plan.specialists, chatting=chatting)
        (work / "models.json").write_text(told.model_dump_json(), encoding="utf-8")
        (work / CURRENT).write_bytes(plan.signed)
        compiled = compiler("litellm-plugin")(plan.manifest)
        (work / "config.yaml").write_text(compiled.text, encoding="utf-8")
        here, key = f"http://{HERE}:{port}/v1", os.environ.get(_KEY) or f"sk-{secrets.token_hex(16)}"
        urls = {variable_of(model): here for model in plan.specialists}
        urls |= {last.url_env: here} if plan.stand_in else {}
        environment = {**_QUIET, **urls, _KEY: key, "SUPPLY_CHAIN_MANIFEST": str(work / CURRENT)}
        process = [sys.executable, "-m", "registry.serving.process", str(work / "models.json")]
        children.start("models", process, {})
        address = ["--host", HERE, "--port", str(plan.port), "--telemetry", "False"]
        proxy = [str(plan.litellm), "--config", str(work / "config.yaml"), *address]
        children.start("proxy", proxy, {**environment, "PYTHONPATH": str(PROJECT)})
        children.ready("models", f"http://{HERE}:{port}/health")
        children.ready("proxy", f"http://{HERE}:{plan.port}/health/liveliness")
        yield Served(f"http://{HERE}:{plan.port}/v1", here, key, children)


def _weights(model: Model, store: Store) -> Path | None:
    """The folder of a model's weights; None where the store has none. Raises EvidenceMismatch."""
    stored = store.find(Artifact, model.artifact.uri.rpartition("/")[2])
    if stored is not None and stored.digest != model.artifact.sha256:
        raise EvidenceMismatch(f"{model.name}: {stored.path} is not what the manifest names: supply-chain verify")
    return stored.path if stored else None


def _base(manifest: RoutingManifest, store: Store) -> Path | None:
    """A base model that the fleet was made from, if the store has one."""
    wanted = {model.base.digest for model in manifest.models}
    found = next((stored for stored in store.all(BaseModelRecord) if stored.digest in wanted), None)
    return found.verify().path if found else None


def _needs_generalist(manifest: RoutingManifest, demo: bool) -> str:
    cure = "(the store holds no base model to stand in)" if demo else "or let a base model stand in with --demo"
    return f"an endpoint for {manifest.fallback.name}: export {manifest.fallback.url_env}=http://HOST/v1 {cure}"
