"""The chain runs through Dagster, does nothing twice, and promotes only what its evidence bears out."""

from assets.project import Project
from assets.run import latest, run_manifest, run_recipe
from registry.generations import history
from registry.release import champions, releases
from tests.assets.conftest import load

STAGES = ("curated_data", "splits", "adapter", "merged_model", "quantized_model", "scorecard", "decision", "report")


def digests(project: Project) -> dict[str, str]:
    return {name: latest("tiny_reviews", name, project).key for name in STAGES}


def test_from_recipe_to_manifest_then_nothing_twice_then_only_what_changed(made_once: Project) -> None:
    project, recipe = made_once, load(made_once)
    first = digests(project)
    (champion,) = champions(project.settings)
    (generation,) = history(project.settings)
    assert generation.manifest.models[0].mlflow.version == champion.version == 1
    contestants = [c.name for c in latest("tiny_reviews", "scorecard", project).record.contestants]
    assert contestants == ["majority", "tfidf", "base", "specialist", "bnb-nf4"]

    made = {p: p.stat().st_mtime_ns for p in project.store.root.rglob("entry.json")}
    assert run_recipe(recipe, project).failed is None
    assert run_manifest(project).failed is None
    assert {p: p.stat().st_mtime_ns for p in project.store.root.rglob("entry.json")} == made
    assert digests(project) == first
    assert len(releases(project.settings)) == len(history(project.settings)) == 1

    # A gate's threshold: only the gate and what follows it; the stricter gate refuses.
    refused = run_recipe(load(project, ("minimum: 0.0", "minimum: 0.999")), project)
    assert refused.failed is not None
    assert refused.failed.error == "DagsterAssetCheckFailedError"
    second = digests(project)
    assert {name for name in STAGES if first[name] != second[name]} == {"decision", "report"}
    newest = releases(project.settings)[0]
    assert (newest.version, newest.aliases, newest.promoted) == (2, ["candidate"], False)
    assert [c.version for c in champions(project.settings)] == [1]
    assert run_manifest(project).failed is None
    assert len(history(project.settings)) == 1

    # The rank: training and what follows it, not curation. The champion takes part now, and the adapter is asked, too.
    formats = ("base: tiny", "base: tiny\nquantize: [{scheme: adapter}, {scheme: bnb-nf4}]")
    other = load(project, ("minimum: 0.999", "minimum: 0.0"), ("rank: 2", "rank: 8"), formats)
    assert run_recipe(other, project).failed is None
    third = digests(project)
    assert {name for name in STAGES if first[name] == third[name]} == {"curated_data", "splits"}
    card = latest("tiny_reviews", "scorecard", project).record
    assert [c.name for c in card.contestants] == [
        "majority", "tfidf", "base", "adapter", "specialist", "champion", "bnb-nf4"
    ]  # fmt: skip
    assert [(d.contestant, d.against) for d in card.hops] == [
        ("adapter", "base"), ("specialist", "adapter"), ("bnb-nf4", "specialist")
    ]  # fmt: skip
    assert card.candidate == "bnb-nf4"
    assert [c.version for c in champions(project.settings)] == [3]
    assert run_manifest(project).failed is None
    assert [g.manifest.generation for g in history(project.settings)] == [1, 2]
    (model,) = history(project.settings)[-1].manifest.models
    assert model.adapter is not None and model.adapter.rank == 8
    assert model.adapter.uri.split("/")[-2] == "artifact"


def test_a_fault_in_the_data_is_told_and_stores_nothing(project: Project) -> None:
    (project.settings.root / "data/tiny_reviews.csv").write_bytes(b"\xff\xfe\x00garbage")
    failed = run_recipe(load(project), project).failed
    assert failed is not None
    assert (failed.step, failed.error) == ("curated_data", "InvalidInput")
    assert "no column" in failed.message
    assert list(project.store.root.glob("curated/*")) == []
