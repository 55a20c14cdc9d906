"""The LoRA adapter behind released weights is found over the merged ones, and only where it is one."""

import json
from pathlib import Path

from registry.adapters import adapter_of
from registry.manifest import publish
from supply_chain.identity import identity
from supply_chain.records import Artifact, Compute, Trained
from supply_chain.settings import Settings
from supply_chain.store import Store, Stored
from tests.registry.evidence import release_made_by_hand, store_artifact
from tests.registry.work import FLEET


def trained(store: Store, salt: str, **changes) -> Stored[Trained]:
    def make(folder: Path) -> Trained:
        (folder / "adapter_model.safetensors").write_text(salt)
        (folder / "adapter_config.json").write_text(json.dumps({"r": 8, **changes.pop("config", {})}))
        compute = Compute(device="cpu", dtype="bfloat16", attention="eager", threads=1)
        values = {"base_name": "tiny", "base_digest": "b" * 64, "splits_digest": "5" * 64, "prompt_sha256": "9" * 64,
                  "method": "lora", "steps": 1, "examples": 1, "seconds": 1.0, "compute": compute, "losses": [],
                  "trained_parameters": 1, "tracking_run": None}  # fmt: skip
        return Trained(**{**values, **changes})

    return store.once(Trained, identity("test-trained", 1, salt=salt), make)


def merged(store: Store, recipe, of: str) -> Stored[Artifact]:
    found = store_artifact(recipe, store, salt=of).record.model_copy(update={"made_from": of, "bits": 16})

    def make(folder: Path) -> Artifact:
        (folder / "model.safetensors").write_text(of)
        return found

    return store.once(Artifact, identity("test-merged", 1, of=of), make)


def test_an_adapter_is_found_over_the_merged_weights(tiny_recipe, tmp_path):
    store = Store(tmp_path / "store")
    adapter = trained(store, "a")
    whole = merged(store, tiny_recipe, adapter.digest)
    found = adapter_of(whole.digest, store)
    assert (found.stored.digest, found.rank) == (adapter.digest, 8)
    assert adapter_of(adapter.digest, store).stored.digest == adapter.digest
    assert adapter_of("0" * 64, store) is None


def test_what_came_later_is_found_too(tiny_recipe, tmp_path):
    store = Store(tmp_path / "store")
    first = trained(store, "a")
    assert adapter_of(first.digest, store) is not None
    assert adapter_of(trained(store, "b").digest, store) is not None


def test_whole_weights_and_heads_are_no_adapters(tmp_path):
    store = Store(tmp_path / "store")
    assert adapter_of(trained(store, "w", form="weights").digest, store) is None
    assert adapter_of(trained(store, "h", head="mean").digest, store) is None


def test_what_shared_servers_refuse_or_would_put_on_another_base_is_none(tmp_path):
    store = Store(tmp_path / "store")
    assert adapter_of(trained(store, "d", config={"use_dora": True}).digest, store) is None
    assert adapter_of(trained(store, "p", config={"alpha_pattern": {"q_proj": 1}}).digest, store) is None
    assert adapter_of(trained(store, "r", config={"rank_pattern": {"q_proj": 24}}).digest, store).rank == 24
    assert adapter_of(trained(store, "t", teacher="0" * 64).digest, store) is None


def test_its_own_artifact_is_preferred(tiny_recipe, tmp_path):
    store = Store(tmp_path / "store")
    adapter = trained(store, "a")
    whole = merged(store, tiny_recipe, adapter.digest)
    record = whole.record.model_copy(update={"format": "adapter", "rank": 8})

    def make(folder: Path) -> Artifact:
        (folder / "adapter_config.json").write_text("{}")
        return record

    alone = store.once(Artifact, identity("test-alone", 1), make)
    assert adapter_of(whole.digest, store).stored == alone


def test_the_manifest_names_it(tiny_recipe, tmp_path):
    settings, store = Settings(home=tmp_path / "home"), Store(tmp_path / "store")
    release = release_made_by_hand(tiny_recipe, store)
    (model,) = publish([release], FLEET, settings, store).manifest.models
    assert model.adapter is None and model.decoding.answers == "ranked"
