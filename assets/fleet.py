"""Assets of the whole project: base models, and the manifest that all recipes share."""

from typing import Any

import dagster as dg

from assets import about
from assets.launch import Workshop, explained
from assets.project import Project
from assets.wiring import FLAKY, base_key_of
from registry.generations import PublishedManifest
from supply_chain.catalogue import BaseModelEntry
from supply_chain.errors import InvalidRecipe
from supply_chain.hub import base_key
from supply_chain.identity import identity
from supply_chain.records import BaseModelRecord

MANIFEST = dg.AssetKey("routing_manifest")


def base_asset(entry: BaseModelEntry, project: Project) -> dg.AssetsDefinition:
    """One base model: fetched, verified and converted once."""

    @dg.asset(
        key=base_key_of(entry.name),
        group_name="base_models",
        kinds={"safetensors"},
        tags={"size": entry.size, "role": entry.role},
        description=f"{entry.name} ({entry.license}, {entry.parameters / 1e6:,.0f} million parameters).",
        code_version=base_version(entry),
        retry_policy=FLAKY,
        required_resource_keys={"pipes"},
    )
    def base_model(context: dg.AssetExecutionContext) -> dg.MaterializeResult:
        with explained():
            options = {"base": entry.model_dump(mode="json")}
            shop = Workshop(project, context)
            stored = shop.make(BaseModelRecord, base_key(entry), "base", {}, options)
        return about.made(stored, about.base(stored))

    return base_model


def base_version(entry: BaseModelEntry) -> str:
    """What an edit of the entry changes."""
    return identity("base", 1, entry=entry)[:12]


def manifest_asset(recipes: list[str], project: Project) -> dg.AssetsDefinition:
    """The routing manifest of all champions; made again when any champion changes."""

    @dg.asset(
        key=MANIFEST,
        group_name="fleet",
        kinds={"json"},
        retry_policy=FLAKY,
        deps=[dg.AssetKey([name, "champion"]) for name in recipes],
        automation_condition=dg.AutomationCondition.eager().without(~dg.AutomationCondition.any_deps_missing()),
    )
    def routing_manifest() -> dg.MaterializeResult:
        """Which champion answers which request: one numbered generation, published whole or not at all."""
        with explained():
            published = publish_manifest(project)
        manifest = published.manifest
        return dg.MaterializeResult(
            metadata={
                "generation": manifest.generation,
                "models": len(manifest.models),
                "routes": len(manifest.routes),
                "path": dg.MetadataValue.path(published.path),
                "sha256": published.sha256,
            },
            data_version=dg.DataVersion(published.sha256),
        )

    return routing_manifest


def publish_manifest(project: Project) -> PublishedManifest:
    """Publishes today's champions. Raises what `Desk.publish` raises."""
    return project.desk.publish()


def faulty_asset(name: str, error: InvalidRecipe) -> dg.AssetsDefinition:
    """A recipe that cannot be read, shown where its assets would be; it fails with its faults."""

    @dg.asset(key=dg.AssetKey([name, "invalid_recipe"]), group_name="invalid_recipes", description=str(error))
    def invalid_recipe() -> Any:
        raise dg.Failure(str(error), metadata={"error": "InvalidRecipe"}, allow_retries=False)

    return invalid_recipe
