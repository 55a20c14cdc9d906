"""Model versions as MLflow shows them. Their tags are claims: see `evidence.py`."""

from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from pydantic import BaseModel, ConfigDict, ValidationError

from registry.evidence import Claims
from registry.server import TAG, tracking_server
from supply_chain.errors import EvidenceMismatch
from supply_chain.recipe.tasks import Metric
from supply_chain.settings import Settings

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from mlflow.entities.model_registry import ModelVersion

OWNER = TAG + "owner"
CANDIDATE, CHALLENGER, CHAMPION, PREVIOUS, RETIRED = "candidate", "challenger", "champion", "previous", "retired"
"""Parts of a version's life: refused or superseded, passed the gate and waits, serves, served before, left for good."""


class Quality(BaseModel):
    """The candidate's metric with its 95 % interval."""

    model_config = ConfigDict(frozen=True, extra="forbid")
    metric: Metric
    mean: float
    low: float
    high: float
    n: int


class Release(BaseModel):
    """One model version."""

    model_config = ConfigDict(frozen=True, extra="forbid")
    name: str
    version: int
    run_id: str
    aliases: list[str]
    created: datetime
    tags: dict[str, str]
    """Without the prefix `supply_chain.`."""

    @property
    def promoted(self) -> bool:
        """Whether the gates let it become champion."""
        return self.tags.get("promoted") == "yes"

    @property
    def headline(self) -> str:
        """The decision in one sentence."""
        return self.tags.get("headline", "")

    @property
    def reasons(self) -> dict[str, str]:
        """The outcome of each check, by its name."""
        return {k.removeprefix("check."): v for k, v in sorted(self.tags.items()) if k.startswith("check.")}

    @property
    def quality(self) -> Quality | None:
        """What was measured, or None if the tag is missing or was edited beyond reading."""
        try:
            return Quality.model_validate_json(self.tags.get("quality", ""))
        except ValidationError:
            return None

    @property
    def digests(self) -> dict[str, str]:
        """Every digest, by what it is of."""
        return {k.removesuffix(".digest"): v for k, v in sorted(self.tags.items()) if k.endswith(".digest")}

    def claims(self) -> Claims:
        """What the tags say about the evidence. Raises EvidenceMismatch that names the version."""
        if "release" not in self.tags:
            raise EvidenceMismatch(
                f"{self.name} version {self.version} was not registered by this chain: take its aliases from it, "
                f"or register its evidence"
            )
        try:
            return Claims.from_tags(self.name, self.tags)
        except EvidenceMismatch as error:
            raise EvidenceMismatch(f"{self.name} version {self.version}: {error}. Register the model again.") from None


def releases(settings: Settings) -> list[Release]:
    """Every version that this chain registered, by name, newest first."""
    with tracking_server(settings) as client:
        aliases = {m.name: m.aliases for m in pages(client.search_registered_models)}
        versions = [v for v in pages(client.search_model_versions) if TAG + "release" in v.tags]
        found = [_release(version, aliases.get(version.name, {})) for version in versions]
    return sorted(found, key=lambda r: (r.name, -r.version))


def champions(settings: Settings) -> list[Release]:
    """Every champion of this chain's models, by name. Other models of a shared server are left alone."""
    with tracking_server(settings) as client:
        registered = pages(client.search_registered_models)
        models = [m for m in registered if CHAMPION in m.aliases and OWNER in m.tags]
        return [
            release_of(client, model.name, int(model.aliases[CHAMPION]))
            for model in sorted(models, key=lambda m: str(m.name))
        ]


def release_of(client: "MlflowClient", name: str, version: int) -> Release:
    """One version as it is now."""
    found = client.get_model_version(name, str(version))
    return _release(found, dict.fromkeys(found.aliases, found.version))


def aliases_of(client: "MlflowClient", name: str) -> dict[str, int]:
    """Version by alias; empty if nothing was registered yet."""
    from mlflow.exceptions import MlflowException  # noqa: PLC0415

    try:
        return {alias: int(version) for alias, version in client.get_registered_model(name).aliases.items()}
    except MlflowException as error:
        if error.error_code != "RESOURCE_DOES_NOT_EXIST":
            raise
        return {}


def _release(version: "ModelVersion", aliases: dict[str, Any]) -> Release:
    return Release(
        name=version.name,
        version=int(version.version),
        run_id=version.run_id or "",  # absent where someone else made the version
        aliases=sorted(alias for alias, of in aliases.items() if int(of) == int(version.version)),
        created=datetime.fromtimestamp(version.creation_timestamp / 1000, UTC),
        tags={name.removeprefix(TAG): value for name, value in version.tags.items() if name.startswith(TAG)},
    )


def pages(search: Any, **arguments: Any) -> list[Any]:
    """Everything that one of the client's searches finds."""
    found, token = [], None
    while True:
        page = search(page_token=token, **arguments)
        found.extend(page)
        token = page.token
        if not token:
            return found
