"""The last assets of a chain: what passed is promoted, what a person decides waits, and no run fails for it."""

from pathlib import Path
from typing import Any

import dagster as dg
import pytest

from assets.launchpad import launchpad
from assets.project import Project
from assets.shipping import shipping_assets
from assets.workers import WorkerClient
from registry.decisions import Act
from supply_chain.recipe import Recipe
from supply_chain.recipe.promote import Approval
from supply_chain.records import Compute, LossPoint, Trained
from supply_chain.settings import Settings
from supply_chain.store import Store
from tests.registry.evidence import evidence_for, store_artifact


def trained(store: Store) -> Any:
    """An adapter's record."""

    def make(folder: Path) -> Trained:
        (folder / "adapter.bin").write_bytes(b"x")
        compute = Compute(device="cpu", dtype="float32", attention="eager", threads=1)
        return Trained(
            base_name="tiny", base_digest="b" * 64, splits_digest="5" * 64, prompt_sha256="6" * 64, method="lora",
            steps=1, examples=1, seconds=1.0, compute=compute, losses=[LossPoint(step=1, loss=1.0)],
            trained_parameters=1, tracking_run=None,
        )  # fmt: skip

    return store.once(Trained, "a" * 64, make)


def ship(recipe: Recipe, project: Project, **said: Any) -> tuple[bool, list[str]]:
    """Whether the run succeeded, and the assets that were made; `said` stands in the launchpad."""
    artifact = store_artifact(recipe, project.store)
    names = ("scorecard", "decision", "report")
    values = {"adapter": trained(project.store), "quantized_model": artifact}
    values |= dict(zip(names, evidence_for(recipe, artifact, project.store), strict=True))
    given = [_given(recipe, name, value) for name, value in values.items()]
    config = {"ops": {f"{recipe.name}__adapter": {"config": said}}}
    resources = {"pipes": dg.ResourceDefinition.hardcoded_resource(WorkerClient())}
    own = [asset.definition(resources) for asset in shipping_assets(recipe, project)]
    made = dg.materialize([*given, *own], run_config=config, raise_on_error=False)
    keys = [event.asset_key.path[-1] for event in made.get_asset_materialization_events() if event.asset_key]
    return made.success, [key for key in keys if key not in values]


def _given(recipe: Recipe, name: str, value: Any) -> dg.AssetsDefinition:
    @dg.asset(key=[recipe.name, name], config_schema=launchpad(recipe) if name == "adapter" else None)
    def given() -> Any:
        return value

    return given


@pytest.fixture
def project(tmp_path: Path) -> Project:
    return Project(Settings(home=tmp_path / "home"))


def test_a_version_waits_for_people_and_no_run_fails(tiny_recipe: Recipe, project: Project):
    approval = Approval(roles=["risk"])
    promote = tiny_recipe.promote.model_copy(update={"approval": approval})
    recipe = tiny_recipe.model_copy(update={"promote": promote})
    assert ship(recipe, project) == (True, ["registered_model"])

    from registry.release import releases

    (release,) = releases(project.settings)
    assert release.aliases == ["challenger"]
    project.desk.approve(release, "risk", Act("ada", "read it"))
    assert ship(recipe, project) == (True, ["registered_model", "champion"])
    assert releases(project.settings)[0].aliases == ["champion"]

    project.desk.retire(recipe.name, Act("ada", "no longer needed"))
    assert ship(recipe, project) == (True, ["registered_model"])
    assert releases(project.settings)[0].aliases == []


def test_values_of_the_launchpad_are_promoted_by_no_run(tiny_recipe: Recipe, project: Project):
    from registry.release import releases

    assert ship(tiny_recipe, project, learning_rate=0.001) == (True, ["registered_model"])
    assert releases(project.settings)[0].aliases == ["challenger"]
    same = tiny_recipe.train.learning_rate
    assert ship(tiny_recipe, project, learning_rate=same) == (True, ["registered_model", "champion"])
