"""Model card and bill of materials: valid for their formats whatever a recipe says, and bound to the release."""

import json
import shutil
from hashlib import sha256

import pytest
from cyclonedx.schema import SchemaVersion
from cyclonedx.validation.json import JsonStrictValidator
from huggingface_hub import ModelCard
from hypothesis import HealthCheck, given
from hypothesis import settings as effort
from hypothesis import strategies as st

from registry.adapters import Adapter
from registry.bom import bom_of
from registry.card import card_of, plain
from registry.documents import BOM, CARD, documents_of
from registry.evidence import Claim, Claims, Documents, Evidence
from registry.manifest import publish
from supply_chain.errors import EvidenceMismatch
from supply_chain.identity import identity
from supply_chain.recipe import Recipe
from supply_chain.records import Origin
from supply_chain.settings import Settings
from supply_chain.store import Store
from tests.registry.chain import Chain
from tests.registry.evidence import evidence_for, release_made_by_hand, store_artifact
from tests.registry.work import FLEET

VALIDATOR = JsonStrictValidator(SchemaVersion.V1_6)


@pytest.fixture
def evidence(tiny_recipe: Recipe, tmp_path) -> Evidence:
    store = Store(tmp_path / "s")
    artifact = store_artifact(tiny_recipe, store)
    return Evidence(artifact, *evidence_for(tiny_recipe, artifact, store))


def test_the_card_states_what_was_measured(tiny_recipe: Recipe, evidence: Evidence):
    card = ModelCard(card_of(tiny_recipe, evidence))
    assert (card.data.license, card.data.base_model, card.data.datasets) == ("cc0-1.0", "tiny", ["tiny_reviews"])
    assert card.data.pipeline_tag == "text-classification"
    result = next(r for r in card.data.eval_results if r.metric_type == "macro_f1")
    assert (result.metric_value, result.dataset_revision) == (0.741, "5" * 64)
    assert result.metric_name == "macro-F1, 95 % interval 0.700 to 0.780"
    assert "| base | tiny | CC0-1.0 | public | any |" in card.text
    assert "- ✓ Macro-F1 is 0.741 (95 % interval 0.700 to 0.780, 749 rows)" in card.text
    assert f"| artifact | {evidence.artifact.digest} |" in card.text
    assert "adapter" not in card.text


def test_the_card_tells_of_the_adapter_and_how_it_is_served(tiny_recipe: Recipe, evidence: Evidence):
    text = card_of(tiny_recipe, evidence, Adapter(evidence.artifact, rank=12))
    assert f"| adapter | {evidence.artifact.digest} |" in text
    assert "`vllm serve BASE --enable-lora --max-lora-rank 16 --lora-modules tiny_reviews=ADAPTER`" in text


def test_several_licences_are_named(tiny_recipe: Recipe, evidence: Evidence):
    record = evidence.artifact.record
    mixed = [*record.origins, Origin(role="teacher", name="t", license="Apache-2.0")]
    changed = record.model_copy(update={"origins": mixed})
    told = Evidence(_with(evidence.artifact, changed), evidence.scorecard, evidence.decision, evidence.report)
    card = ModelCard(card_of(tiny_recipe, told))
    assert (card.data.license, card.data.license_name) == ("other", "Apache-2.0 and CC0-1.0")
    bom = bom_of(tiny_recipe, told, "a" * 64)
    assert bom["metadata"]["component"]["licenses"] == [
        {"license": {"id": "CC0-1.0"}},
        {"license": {"id": "Apache-2.0"}},
    ]


def _with(stored, record):
    return type(stored)(stored.key, record, stored.path, stored.files, stored.digest)


def test_the_bill_names_every_file_origin_and_figure(tiny_recipe: Recipe, evidence: Evidence):
    bom = bom_of(tiny_recipe, evidence, "a" * 64)
    assert VALIDATOR.validate_str(json.dumps(bom)) is None
    model = bom["metadata"]["component"]
    weights = sha256((evidence.artifact.path / "model.safetensors").read_bytes()).hexdigest()
    hashes = {part["name"]: part["hashes"][0]["content"] for part in model["components"]}
    assert hashes["model.safetensors"] == weights and set(hashes) == set(evidence.artifact.files)
    assert {"name": "supply_chain:artifact", "value": evidence.artifact.digest} in model["properties"]
    metrics = {m["type"]: m for m in model["modelCard"]["quantitativeAnalysis"]["performanceMetrics"]}
    bounds = {"lowerBound": "0.7", "upperBound": "0.78"}
    assert metrics["macro_f1"] == {"type": "macro_f1", "value": "0.741", "confidenceInterval": bounds}
    assert model["modelCard"]["modelParameters"]["datasets"] == [{"ref": "data-2"}]
    assert [(c["bom-ref"], c["type"], c["licenses"]) for c in bom["components"]] == [
        ("base-1", "machine-learning-model", [{"license": {"id": "CC0-1.0"}}]),
        ("data-2", "data", [{"license": {"id": "CC0-1.0"}}]),
    ]
    assert bom["serialNumber"] == "urn:uuid:aaaaaaaa-aaaa-aaaa-aaaa-aaaaaaaaaaaa"


def test_the_validator_refuses_what_is_wrong(tiny_recipe: Recipe, evidence: Evidence):
    bom = bom_of(tiny_recipe, evidence, "a" * 64)
    bom["metadata"]["component"]["licenses"] = [{"license": {"id": "not-spdx"}}]
    assert VALIDATOR.validate_str(json.dumps(bom)) is not None


words = st.text(min_size=1, max_size=40)
origin = st.builds(Origin, role=st.sampled_from(["base", "data", "teacher"]), name=words, license=words, zone=words)


@effort(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(origin, max_size=4), words, words)
def test_whatever_is_said_both_are_valid(tiny_recipe: Recipe, evidence: Evidence, origins, text, task):
    recipe = tiny_recipe.model_copy(
        update={"description": text, "route": tiny_recipe.route.model_copy(update={"task": task})}
    )
    record = evidence.artifact.record.model_copy(update={"origins": origins})
    told = Evidence(_with(evidence.artifact, record), evidence.scorecard, evidence.decision, evidence.report)
    assert VALIDATOR.validate_str(json.dumps(bom_of(recipe, told, "a" * 64))) is None
    card = ModelCard(card_of(recipe, told))
    assert card.data.model_name == recipe.name and len(card.data.eval_results) == 2


def test_foreign_text_stays_text():
    assert plain("a|b\n# <script>*x*") == "a\\|b \\# &lt;script&gt;\\*x\\*"


def test_the_manifest_names_their_digest_and_damage_shows(tiny_recipe: Recipe, tmp_path):
    settings, store = Settings(home=tmp_path / "home"), Store(tmp_path / "store")
    release = release_made_by_hand(tiny_recipe, store)
    artifact = store_artifact(tiny_recipe, store)
    made = documents_of(tiny_recipe, Evidence(artifact, *evidence_for(tiny_recipe, artifact, store)), store)
    assert set(made.files) == {CARD, BOM} and made.record.release == release.claims().key
    claims = release.claims().model_copy(update={"documents": Claim.of(made)})
    release = release.model_copy(update={"tags": claims.tags()})
    (model,) = publish([release], FLEET, settings, store).manifest.models
    assert model.documents.model_dump() == {"uri": made.path.as_uri(), "sha256": made.digest}
    (made.path / CARD).write_text("# Better than it is")
    for said in (r"stored documents .*README\.md differ", "its documents .* is not in the store"):
        with pytest.raises(EvidenceMismatch, match=said):
            publish([release], FLEET, settings, store)


def test_a_release_from_before_there_were_papers_keeps_its_identity(tiny_recipe: Recipe, tmp_path):
    claims = release_made_by_hand(tiny_recipe, Store(tmp_path / "store")).claims()
    told = claims.model_dump(mode="json", exclude={"documents"})
    assert claims.key == identity("release", 1, claims=told) and Claims.model_validate(told) == claims
    papers = claims.model_copy(update={"documents": claims.report})
    assert papers.key != claims.key and Claims.from_tags(claims.recipe, papers.tags()) == papers
    stripped = {name: value for name, value in papers.tags().items() if not name.startswith("documents.")}
    with pytest.raises(EvidenceMismatch, match="its tags were edited"):
        Claims.from_tags(claims.recipe, stripped)


def test_they_are_registered_with_the_release(chain: Chain):
    release = chain.release()
    found = chain.store.find(Documents, release.claims().documents.key)
    assert release.digests["documents"] == found.digest
    files = {f.path for f in chain.client.list_artifacts(release.run_id, "documents")}
    assert {"documents/README.md", "documents/bom.cdx.json"} <= files
    shutil.rmtree(found.path)
    assert chain.release() == release and (found.path / CARD).exists()
