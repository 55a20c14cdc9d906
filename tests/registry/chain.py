"""One recipe's way into the registry, for tests."""

from mlflow import MlflowClient

from registry.lifecycle import Desk
from registry.release import Release, incumbent, register
from supply_chain.recipe import Recipe
from supply_chain.settings import Settings
from supply_chain.store import Store
from tests.registry.evidence import evidence_for, store_artifact
from tests.registry.work import FLEET


class Chain:
    """One recipe's way into the registry."""

    def __init__(self, recipe: Recipe, settings: Settings, store: Store):
        self.recipe, self.settings, self.store = recipe, settings, store

    @property
    def desk(self) -> Desk:
        return Desk(FLEET, self.settings, self.store)

    @property
    def client(self) -> MlflowClient:
        return MlflowClient(self.settings.tracking_uri, self.settings.tracking_uri)

    def release(self, salt: str = "", recipe: Recipe | None = None, **changes) -> Release:
        """Evaluates (against today's incumbent) and registers the artifact that `salt` makes."""
        recipe = recipe or self.recipe
        artifact = store_artifact(recipe, self.store, salt=salt)
        rival = incumbent(recipe.name, artifact.digest, self.settings)
        changes.setdefault("champion", rival.artifact_digest if rival else None)
        return register(
            recipe, artifact, *evidence_for(recipe, artifact, self.store, **changes), "t1", self.settings, self.store
        )

    def promote(self, release: Release) -> Release:
        return self.desk.promote(release)

    def aliases(self) -> dict[str, int]:
        return {k: int(v) for k, v in self.client.get_registered_model(self.recipe.name).aliases.items()}

    def retag(self, release: Release, name: str, value: str) -> None:
        self.client.set_model_version_tag(release.name, str(release.version), f"supply_chain.{name}", value)
