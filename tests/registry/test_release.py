import json
from pathlib import Path

import pytest

from registry.manifest import publish
from registry.release import champions, incumbent, register, releases
from supply_chain.errors import CorruptData, EvidenceMismatch, Unavailable
from supply_chain.identity import canonical_json
from tests.registry.chain import Chain
from tests.registry.evidence import estimate, evidence_for, scorecard, store_artifact, store_report, store_scorecard
from tests.registry.work import FLEET

LOSES = {"differences": {"tfidf": estimate(0.0, -0.1, 0.1)}}


def test_a_version_carries_its_evidence(chain: Chain):
    release = chain.release()
    artifact = store_artifact(chain.recipe, chain.store)
    assert (release.name, release.version, release.aliases) == ("tiny_reviews", 1, ["challenger"])
    assert release.promoted and release.headline == "May be promoted: all 4 checks passed."
    assert release.quality.model_dump() == {"metric": "macro_f1", "mean": 0.741, "low": 0.7, "high": 0.78, "n": 749}
    assert set(release.digests) == {
        "artifact", "scorecard", "decision", "report", "splits", "prompt", "base", "chat_template", "tokenizer",
        "documents",
    }  # fmt: skip
    assert release.digests["artifact"] == artifact.digest
    assert release.digests["splits"] == "5" * 64
    assert release.tags["artifact.key"] == artifact.key
    assert release.tags["training_run"] == "t1"
    assert release.reasons["minimum"].startswith("passed: Macro-F1 is 0.741")


def test_a_run_shows_params_metrics_data_and_files(chain: Chain):
    release = chain.release()
    run = chain.client.get_run(release.run_id)
    assert run.info.status == "FINISHED"
    assert run.data.params["train.rank"] == "2"
    assert json.loads(run.data.params["evaluate.kpis.mistakes"]) == {"negative->positive": 0.25}
    assert run.data.metrics["bnb-nf4/macro_f1_low"] == 0.70
    assert run.data.metrics["difference/bnb-nf4-tfidf"] == 0.08
    (data,) = run.inputs.dataset_inputs
    assert data.dataset.digest == "5" * 36
    assert {t.key: t.value for t in data.tags}["splits_digest"] == "5" * 64
    files = {
        f.path
        for place in ("report", "decision", "scorecard")
        for f in chain.client.list_artifacts(run.info.run_id, place)
    }
    assert {"report/report.html", "decision/decision.json", "scorecard/scorecard.json"} <= files
    assert (chain.settings.home / "mlflow-artifacts" / "tiny_reviews").is_dir()


def test_the_same_evidence_is_the_same_version(chain: Chain):
    first, again = chain.release(), chain.release()
    assert again == first
    assert len(releases(chain.settings)) == 1
    assert len(chain.client.search_runs([chain.client.get_run(first.run_id).info.experiment_id])) == 1


def test_a_refused_model_is_kept_with_its_reasons(chain: Chain):
    release = chain.release(**LOSES)
    assert not release.promoted and release.aliases == ["candidate"]
    assert release.headline == "Refused: 1 of 4 checks failed (beats tfidf)."
    assert release.reasons["beats tfidf"].startswith("failed: Against tfidf, macro-F1 differs by +0.000")
    with pytest.raises(EvidenceMismatch, match=r"version 1 was refused and cannot be champion\. Refused: 1 of 4"):
        chain.promote(release)
    assert chain.aliases() == {"candidate": 1}


def test_promotion_moves_the_aliases(chain: Chain):
    first = chain.promote(chain.release())
    assert first.aliases == ["champion"] and chain.aliases() == {"champion": 1}
    second = chain.release("b")
    assert chain.aliases() == {"champion": 1, "challenger": 2}
    assert chain.promote(second).aliases == ["champion"]
    assert chain.promote(second).aliases == ["champion"]
    assert chain.aliases() == {"champion": 2, "previous": 1}
    assert [r.version for r in champions(chain.settings)] == [2]


def test_an_unchanged_recipe_meets_the_champion_that_it_met_before(chain: Chain):
    digest = store_artifact(chain.recipe, chain.store).digest
    assert incumbent("tiny_reviews", digest, chain.settings) is None
    first = chain.promote(chain.release())
    assert incumbent("tiny_reviews", digest, chain.settings) is None
    assert chain.release() == first
    second = chain.promote(chain.release("b"))
    found = incumbent("tiny_reviews", second.digests["artifact"], chain.settings)
    assert (found.version, found.artifact_digest) == (1, digest)
    assert chain.release("b") == second
    back = chain.release("")  # the first artifact again, now against the second
    assert back.version == 3 and incumbent("tiny_reviews", digest, chain.settings).version == 2


def test_a_new_route_is_a_new_version_of_the_same_weights(chain: Chain):
    first = chain.promote(chain.release())
    route = chain.recipe.route.model_copy(update={"keywords": ["opinion"]})
    moved = chain.promote(chain.release(recipe=chain.recipe.model_copy(update={"route": route})))
    assert moved.version == 2 and moved.digests["artifact"] == first.digests["artifact"]
    assert incumbent("tiny_reviews", first.digests["artifact"], chain.settings) is None


def test_a_champion_that_changed_meanwhile_stops_the_promotion(chain: Chain):
    chain.promote(chain.release())
    second, third = chain.release("b"), chain.release("c")
    chain.promote(second)
    with pytest.raises(EvidenceMismatch, match=r"version 3 was compared with the champion .* is version 2"):
        chain.promote(third)
    assert chain.aliases()["champion"] == 2


def test_an_evaluation_without_the_champion_stops_the_promotion(chain: Chain):
    chain.promote(chain.release())
    with pytest.raises(EvidenceMismatch, match="with no champion; the champion to compare with is version 1"):
        chain.promote(chain.release("b", champion=None))


@pytest.mark.parametrize("name", ["promoted", "artifact.digest", "decision.digest", "decision.key", "release", "route"])
def test_an_edited_tag_does_not_promote(chain: Chain, name: str):
    good = chain.release()
    refused = chain.release("b", **LOSES)
    chain.retag(refused, name, good.tags[name] if good.tags[name] != refused.tags[name] else '{"task":"other"}')
    with pytest.raises(EvidenceMismatch, match="tiny_reviews version 2"):
        chain.promote(refused)
    assert "champion" not in chain.aliases()


def test_all_tags_of_another_release_do_not_promote(chain: Chain):
    good, refused = chain.release(), chain.release("b", **LOSES)
    for name, value in good.tags.items():
        chain.retag(refused, name, value)
    with pytest.raises(EvidenceMismatch, match="its tags are those of another release"):
        chain.promote(refused)


def test_a_release_object_is_not_believed(chain: Chain):
    refused = chain.release(**LOSES)
    forged = refused.model_copy(update={"tags": {**refused.tags, "promoted": "yes"}})
    with pytest.raises(EvidenceMismatch, match="was refused"):
        chain.promote(forged)


def edit(path: Path, change) -> None:
    entry = json.loads(path.read_text())
    change(entry)
    path.write_text(canonical_json(entry))


def test_an_edited_decision_does_not_promote(chain: Chain):
    refused = chain.release(**LOSES)
    path = chain.store.root / "decision" / refused.tags["decision.key"]
    edit(path / "entry.json", lambda e: e["record"].update(promoted=True))
    with pytest.raises(EvidenceMismatch, match="the record of its decision"):
        chain.promote(refused)
    edit(path / "decision.json", lambda e: e.update(promoted=True))
    with pytest.raises((CorruptData, EvidenceMismatch), match="decision"):
        chain.promote(refused)


def test_an_edited_decision_is_not_registered(chain: Chain):
    artifact = store_artifact(chain.recipe, chain.store)
    card, decision, report = evidence_for(chain.recipe, artifact, chain.store, **LOSES)
    forged = decision.record.model_copy(update={"promoted": True, "headline": "May be promoted."})
    (decision.path / "decision.json").write_text(canonical_json(forged))
    entry = {"record": forged.model_dump(mode="json"), "files": {}}
    (decision.path / "entry.json").write_text(canonical_json(entry))
    decision = chain.store.find(type(forged), decision.key)
    report = store_report(card, decision, chain.store)
    with pytest.raises(EvidenceMismatch, match="the gates applied again do not agree"):
        register(chain.recipe, artifact, card, decision, report, None, chain.settings, chain.store)


def test_evidence_about_other_bytes_is_not_registered(chain: Chain):
    artifact, other = store_artifact(chain.recipe, chain.store), store_artifact(chain.recipe, chain.store, salt="b")
    evidence = evidence_for(chain.recipe, other, chain.store)
    with pytest.raises(EvidenceMismatch, match="the bytes that were evaluated and the artifact do not agree"):
        register(chain.recipe, artifact, *evidence, None, chain.settings, chain.store)


def test_a_scorecard_edited_before_registration_is_found(chain: Chain):
    artifact = store_artifact(chain.recipe, chain.store)
    card = store_scorecard(scorecard(chain.recipe.name, artifact.digest, **LOSES), chain.store)
    better = scorecard(chain.recipe.name, artifact.digest)
    edit(card.path / "entry.json", lambda e: e.update(record=better.model_dump(mode="json")))
    card = chain.store.find(type(better), card.key)
    from registry.gate import judge

    decision = judge(chain.recipe.promote, card, chain.store)
    assert decision.record.promoted
    report = store_report(card, decision, chain.store)
    with pytest.raises(EvidenceMismatch, match=r"the scorecard's record and its scorecard\.json do not agree"):
        register(chain.recipe, artifact, card, decision, report, None, chain.settings, chain.store)


def test_damaged_weights_are_not_promoted(chain: Chain):
    release = chain.release()
    weights = store_artifact(chain.recipe, chain.store).path / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:-1] + b"x")
    with pytest.raises(CorruptData, match=r"tiny_reviews version 1: .*model\.safetensors differ"):
        chain.promote(release)
    assert "champion" not in chain.aliases()


def test_a_champion_from_elsewhere_is_not_an_incumbent(chain: Chain):
    chain.client.create_registered_model("tiny_reviews")
    chain.client.create_model_version("tiny_reviews", "/nowhere")
    chain.client.set_registered_model_alias("tiny_reviews", "champion", "1")
    with pytest.raises(EvidenceMismatch, match="tiny_reviews version 1 was not registered by this chain"):
        incumbent("tiny_reviews", "a" * 64, chain.settings)
    assert releases(chain.settings) == []


def test_models_of_others_are_left_alone(chain: Chain):
    first = chain.promote(chain.release())
    chain.client.create_registered_model("theirs")
    chain.client.create_model_version("theirs", "/nowhere")
    chain.client.set_registered_model_alias("theirs", "champion", "1")
    assert champions(chain.settings) == [first] == releases(chain.settings)


def test_a_version_put_in_by_hand_is_not_published(chain: Chain):
    chain.release()
    chain.client.create_model_version("tiny_reviews", "/nowhere")
    chain.client.set_registered_model_alias("tiny_reviews", "champion", "2")
    with pytest.raises(EvidenceMismatch, match="tiny_reviews version 2 was not registered by this chain"):
        publish(champions(chain.settings), FLEET, chain.settings, chain.store)


def test_a_refused_champion_is_not_published(chain: Chain):
    chain.release(**LOSES)
    chain.client.set_registered_model_alias("tiny_reviews", "champion", "1")
    with pytest.raises(EvidenceMismatch, match="tiny_reviews version 1 was refused"):
        publish(champions(chain.settings), FLEET, chain.settings, chain.store)


def test_an_unreadable_tag_does_not_stop_the_list(chain: Chain):
    chain.retag(chain.release(), "quality", "very good")
    assert releases(chain.settings)[0].quality is None


def test_releases_are_listed_newest_first(chain: Chain):
    chain.promote(chain.release())
    chain.release("b", **LOSES)
    assert [(r.version, r.promoted, r.aliases) for r in releases(chain.settings)] == [
        (2, False, ["candidate"]),
        (1, True, ["champion"]),
    ]


def test_a_server_that_does_not_answer_is_said(chain: Chain, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
    away = chain.settings.model_copy(update={"mlflow_uri": "http://127.0.0.1:9"})
    with pytest.raises(Unavailable, match=r"MLflow at http://127\.0\.0\.1:9: .*run the same command again"):
        incumbent("tiny_reviews", "a" * 64, away)
