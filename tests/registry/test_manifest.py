import json
from concurrent.futures import ThreadPoolExecutor
from hashlib import sha256
from pathlib import Path

import pytest
import rfc8785
from jsonschema import Draft202012Validator

from registry.generations import CURRENT, history, load_manifest
from registry.manifest import publish
from registry.release import Release
from registry.routing import SCHEMA, schema_text
from registry.terms import CAUSES
from supply_chain.errors import CorruptData, EvidenceMismatch, InvalidInput
from supply_chain.identity import canonical_json
from supply_chain.recipe import Recipe
from supply_chain.settings import Settings
from supply_chain.store import Store
from tests.registry.evidence import LABELS, estimate, release_made_by_hand, store_artifact
from tests.registry.work import FLEET, numbered


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    """A home without MLflow: publishing needs none."""
    return Settings(home=tmp_path / "home")


@pytest.fixture
def release(tiny_recipe: Recipe, store: Store) -> Release:
    return release_made_by_hand(tiny_recipe, store)


def other(recipe: Recipe, store: Store, name: str, **route) -> Release:
    """Another specialist's champion."""
    changed = {"name": name, "route": recipe.route.model_copy(update={"task": name, **route})}
    return release_made_by_hand(recipe.model_copy(update=changed), store)


def folder(settings: Settings) -> Path:
    return settings.home / "manifests"


def test_the_published_schema_is_the_generated_one():
    assert SCHEMA.read_text() == schema_text()
    Draft202012Validator.check_schema(json.loads(SCHEMA.read_text()))


def test_a_manifest_says_everything_a_router_needs(release, tiny_recipe, settings, store):
    published = publish([release], FLEET, settings, store)
    assert published.new and published.path == folder(settings) / "000001.json"
    artifact = store_artifact(tiny_recipe, store)
    assert json.loads(published.path.read_text()) == {
        "schema_version": 1,
        "generation": 1,
        "previous": None,
        "fleet": "f1",
        "decisions": {"entries": 0, "head": None},
        "models": [
            {
                "name": "tiny_reviews",
                "mlflow": {"name": "tiny_reviews", "version": 1},
                "artifact": {
                    "uri": artifact.path.as_uri(),
                    "sha256": artifact.digest,
                    "format": "bnb-nf4",
                    "size_bytes": artifact.size_bytes,
                },
                "documents": None,
                "adapter": None,
                "decoding": {"answers": "ranked", "temperature": 0, "max_new_tokens": 0},
                "promise": None,
                "chat_template_sha256": "c" * 64,
                "tokenizer_sha256": "7" * 64,
                "prompt": {
                    "block": {"kind": "plain", "before": "", "after": "\nLabel:", "answers": {}},
                    "sha256": artifact.record.prompt_sha256,
                },
                "labels": LABELS,
                "base": {"name": "tiny", "digest": "b" * 64},
                "license": "CC0-1.0",
                "splits_sha256": "5" * 64,
                "made_from": "6" * 64,
                "origins": [
                    {"role": "base", "name": "tiny", "license": "CC0-1.0", "sensitivity": "public", "zone": "any"},
                    {
                        "role": "data",
                        "name": "tiny_reviews",
                        "license": "CC0-1.0",
                        "sensitivity": "internal",
                        "zone": "any",
                    },
                ],
                "use": "commercial",
                "sensitivity": "internal",
                "zone": "any",
                "context_tokens": 512,
                "usd_per_1k": {"mean": 5.0, "low": 4.5, "high": 5.5, "n": 749},
                "quality": {"metric": "macro_f1", "mean": 0.741, "low": 0.7, "high": 0.78, "n": 749},
                "latency_ms": {"p50": 30.0, "p95": 45.0},
                "size_bytes": 112_000_000,
            }
        ],
        "routes": [
            {
                "task": "tiny-reviews",
                "keywords": ["review"],
                "utterances": [],
                "candidates": [{"model": "tiny_reviews", "weight": 1}],
                "sensitivity": "internal",
                "zone": "any",
                "min_confidence": None,
                "max_hops": 2,
                "fallbacks": dict.fromkeys(CAUSES, "generalist"),
            }
        ],
        "fallback": {
            "name": "generalist",
            "url_env": "GENERALIST_URL",
            "usd_per_1k_requests": 1.5,
            "zone": "any",
            "accepts": "internal",
        },
        "router": None,
        "policy": {"use": "commercial", "licenses": {}},
        "signature": published.manifest.signature.model_dump(),
    }
    text = published.path.read_text()
    assert text == rfc8785.dumps(json.loads(text)).decode() + "\n"
    assert published.sha256 == sha256(text.encode()).hexdigest()
    assert (folder(settings) / CURRENT).read_text() == text
    assert load_manifest(folder(settings) / CURRENT) == published.manifest


def test_the_artifact_digest_can_be_computed_as_the_schema_says(tiny_recipe, store):
    artifact = store_artifact(tiny_recipe, store)
    files = {name: sha256((artifact.path / name).read_bytes()).hexdigest() for name in artifact.files}
    text = json.dumps({"files": files, "stage": "files", "version": 1}, sort_keys=True, separators=(",", ":"))
    assert sha256(text.encode()).hexdigest() == artifact.digest


def test_generations_name_the_one_before(release, settings, store):
    first = publish([release], FLEET, settings, store)
    second = publish([numbered(release, 2)], FLEET, settings, store)
    assert (second.manifest.generation, second.manifest.previous) == (2, first.sha256)
    assert [p.sha256 for p in history(settings)] == [first.sha256, second.sha256]
    assert (folder(settings) / CURRENT).read_bytes() == second.path.read_bytes()


def test_unchanged_content_is_not_published_again(release, settings, store):
    first = publish([release], FLEET, settings, store)
    again = publish([release], FLEET, settings, store)
    assert not again.new and again.sha256 == first.sha256
    assert len(history(settings)) == 1


def test_the_order_of_champions_does_not_matter(release, tiny_recipe, settings, store):
    second = other(tiny_recipe, store, "other_reviews")
    first = publish([release, second], FLEET, settings, store)
    assert not publish([second, release], FLEET, settings, store).new
    assert [m.name for m in first.manifest.models] == ["other_reviews", "tiny_reviews"]


def test_a_shared_store_is_where_readers_look(release, tiny_recipe, settings, tmp_path):
    store = Store(settings.home / "store", f"file://{tmp_path / 'shared'}/")
    manifest = publish([release], FLEET, settings, store).manifest
    assert manifest.models[0].artifact.uri == f"file://{tmp_path}/shared/artifact/{release.tags['artifact.key']}"


def test_an_empty_fleet_is_all_fallback(settings, store):
    manifest = publish([], FLEET, settings, store).manifest
    assert (manifest.models, manifest.routes) == ([], [])


def test_two_champions_of_one_task_are_named(release, tiny_recipe, settings, store):
    with pytest.raises(InvalidInput, match="task 'tiny-reviews' is claimed by other_reviews and tiny_reviews"):
        publish([release, other(tiny_recipe, store, "other_reviews", task="tiny-reviews")], FLEET, settings, store)
    assert not folder(settings).exists()


def test_fallbacks_must_lead_to_the_fleet(release, tiny_recipe, settings, store):
    lost = other(tiny_recipe, store, "lost", fallback="nobody")
    with pytest.raises(InvalidInput, match="lost falls back to 'nobody', which is neither a champion nor generalist"):
        publish([release, lost], FLEET, settings, store)
    one, two = other(tiny_recipe, store, "one", fallback="two"), other(tiny_recipe, store, "two", fallback="one")
    with pytest.raises(InvalidInput, match="fallbacks run in a circle: one -> two -> one"):
        publish([one, two], FLEET, settings, store)
    chained = other(tiny_recipe, store, "chained", fallback="tiny_reviews")
    routes = publish([release, chained], FLEET, settings, store).manifest.routes
    assert [(r.candidates[0].model, set(r.fallbacks.values())) for r in routes] == [
        ("chained", {"tiny_reviews"}),
        ("tiny_reviews", {"generalist"}),
    ]


def test_every_champion_that_cannot_be_verified_is_named(release, tiny_recipe, settings, store):
    damaged = other(tiny_recipe, store, "damaged")
    weights = store.root / "artifact" / damaged.tags["artifact.key"] / "model.safetensors"
    weights.write_bytes(b"other" + weights.read_bytes()[5:])
    edited = other(tiny_recipe, store, "edited")
    edited = edited.model_copy(update={"tags": {**edited.tags, "route": '{"task":"tiny-reviews"}'}})
    changed = {"name": "refused", "route": tiny_recipe.route.model_copy(update={"task": "refused"})}
    loses = {"differences": {"tfidf": estimate(0.0, -0.1, 0.1)}}
    refused = release_made_by_hand(tiny_recipe.model_copy(update=changed), store, **loses)
    with pytest.raises(EvidenceMismatch) as error:
        publish([release, damaged, edited, refused], FLEET, settings, store)
    lines = str(error.value).splitlines()
    assert lines[0] == "the manifest was not published: 3 champions cannot be verified"
    assert lines[1].startswith("  damaged version 1: stored artifact") and "model.safetensors differ" in lines[1]
    assert lines[2].startswith("  edited version 1: its tags were edited")
    assert lines[3].startswith("  refused version 1 was refused and cannot be champion. Refused: 1 of 4 checks failed")
    assert not folder(settings).exists()


def rewrite(path: Path, **changes) -> None:
    path.write_text(canonical_json({**json.loads(path.read_text()), **changes}) + "\n")


def test_an_edited_generation_is_found_by_its_successor(release, settings, store):
    for version in (1, 2, 3):
        publish([numbered(release, version)], FLEET, settings, store)
    rewrite(folder(settings) / "000002.json", fleet="f2")
    with pytest.raises(CorruptData, match=r"000003\.json names [0-9a-f]{12} as the generation before it"):
        publish([release], FLEET, settings, store)


def test_an_edited_last_generation_is_found_by_the_current_manifest(release, settings, store):
    for version in (1, 2):
        publish([numbered(release, version)], FLEET, settings, store)
    rewrite(folder(settings) / "000002.json", fleet="f2")
    with pytest.raises(CorruptData, match=r"routing-manifest\.json and the last generation \(000002\.json\) differ"):
        publish([release], FLEET, settings, store)


def test_an_edited_current_manifest_is_found(release, settings, store):
    publish([release], FLEET, settings, store)
    rewrite(folder(settings) / CURRENT, fleet="f2")
    with pytest.raises(CorruptData, match="one of them was edited"):
        publish([release], FLEET, settings, store)
    (folder(settings) / CURRENT).unlink()
    assert not publish([release], FLEET, settings, store).new
    assert load_manifest(folder(settings) / CURRENT).fleet == "f1"


def test_a_half_written_generation_is_found(release, settings, store):
    path = publish([release], FLEET, settings, store).path
    path.write_bytes(path.read_bytes()[:-100])
    with pytest.raises(CorruptData, match=r"generation 1 was damaged .*000001\.json is not a whole manifest"):
        publish([release], FLEET, settings, store)


def test_a_reformatted_generation_is_found(release, settings, store):
    path = publish([release], FLEET, settings, store).path
    path.write_text(json.dumps(json.loads(path.read_text()), indent=2))
    with pytest.raises(CorruptData, match="signature does not match its bytes"):
        history(settings)


def test_a_missing_generation_is_found(release, settings, store):
    for version in (1, 2):
        publish([numbered(release, version)], FLEET, settings, store)
    (folder(settings) / "000001.json").unlink()
    with pytest.raises(CorruptData, match=r"generation 000001\.json is missing before .*000002\.json"):
        publish([release], FLEET, settings, store)


def test_a_publisher_killed_between_its_two_writes_is_mended(release, settings, store):
    first = publish([release], FLEET, settings, store)
    before = first.path.read_bytes()
    second = publish([numbered(release, 2)], FLEET, settings, store)
    (folder(settings) / CURRENT).write_bytes(before)
    again = publish([numbered(release, 2)], FLEET, settings, store)
    assert not again.new and again.sha256 == second.sha256
    assert (folder(settings) / CURRENT).read_bytes() == second.path.read_bytes()


def test_every_fault_of_a_manifest_is_shown(release, settings, store, tmp_path):
    data = json.loads(publish([release], FLEET, settings, store).path.read_text())
    data["models"][0]["labels"] = "positive"
    data["extra"] = 1
    path = tmp_path / "m.json"
    path.write_text(json.dumps(data))
    with pytest.raises(InvalidInput) as error:
        load_manifest(path)
    assert "2 faults against manifest.schema.json" in str(error.value)
    assert "models.0.labels: 'positive' is not of type 'array'" in str(error.value)


def test_concurrent_publishers_make_one_line_of_generations(release, settings, store):
    def publisher(worker: int) -> list[int]:
        versions = range(100 * worker + 1, 100 * worker + 9)
        return [publish([numbered(release, v)], FLEET, settings, store).manifest.generation for v in versions]

    with ThreadPoolExecutor(4) as pool:
        numbers = sorted(n for made in pool.map(publisher, range(4)) for n in made)
    assert numbers == list(range(1, 33))
    assert len(history(settings)) == 32
