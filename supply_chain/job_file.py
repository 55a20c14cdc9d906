"""A job as JSON, so that another process can take it up. Stored objects are named, their bytes stay where they are."""

import json
from collections.abc import Iterator
from dataclasses import fields
from pathlib import Path
from typing import Any

from supply_chain.errors import InvalidInput
from supply_chain.job import Job
from supply_chain.recipe import Recipe
from supply_chain.settings import Settings
from supply_chain.store import Record, Store, Stored, write_atomically


def write_job(job: Job, path: Path) -> None:
    """Writes `job` atomically."""
    stored = {
        field.name: _told(value) for field in fields(job) if isinstance(value := getattr(job, field.name), Stored)
    }
    told = {
        "recipe": job.recipe.model_dump(mode="json"),
        "settings": job.settings.model_dump(mode="json"),
        "store": str(job.store.root),
        "stored": stored,
    }
    write_atomically(path, json.dumps(told))


def read_job(path: Path) -> Job:
    """The job in `path`. Raises InvalidInput when a stored object is gone or is another one."""
    told = json.loads(path.read_text(encoding="utf-8"))
    stored: dict[str, Any] = {name: _found(**where) for name, where in told["stored"].items()}
    settings = Settings.model_validate(told["settings"])
    recipe = Recipe.model_validate(told["recipe"])
    return Job(recipe=recipe, settings=settings, store=Store(Path(told["store"]), settings.store), **stored)


def _told(stored: Stored[Any]) -> dict[str, str]:
    root = str(stored.path.parent.parent)
    return {"root": root, "kind": stored.record.kind, "key": stored.key, "digest": stored.digest}


def _found(root: str, kind: str, key: str, digest: str) -> Stored[Any]:
    kinds = {found.kind: found for found in _kinds(Record)}
    stored = Store(Path(root)).find(kinds[kind], key)
    if stored is None or stored.digest != digest:
        raise InvalidInput(f"stored {kind} {key[:12]} is gone or was made anew: run the same command again")
    return stored


def _kinds(of: type[Record]) -> Iterator[type[Record]]:
    for kind in of.__subclasses__():
        yield kind
        yield from _kinds(kind)
