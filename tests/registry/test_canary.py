"""A canary takes its share of the champion's requests, sticks to a session, and ends with the champion."""

from collections import Counter

import pytest

from registry.compilers import compiler
from registry.decisions import Act, Log, Standing
from registry.lifecycle import champions_of
from registry.manifest import compose
from registry.past import live_rows, log_rows, verify_all
from registry.router import Context, Router
from registry.routing import Candidate, RoutingManifest
from registry.verification import Live
from supply_chain.errors import InvalidInput
from supply_chain.records import Origin
from supply_chain.settings import Settings
from supply_chain.store import Store
from tests.registry.chain import Chain
from tests.registry.evidence import ORIGINS, fleet_of, release_made_by_hand
from tests.registry.work import FLEET

ME = Act("ada", "try it")


def shared(manifest: RoutingManifest, share: float) -> RoutingManifest:
    found = fleet_of(manifest, {"name": "a"}, {"name": "a_v2"})
    both = [Candidate(model="a", weight=1 - share), Candidate(model="a_v2", weight=share)]
    return found.model_copy(update={"routes": [found.routes[0].model_copy(update={"candidates": both})]})


def test_sessions_are_shared_out_and_stick(manifest: RoutingManifest):
    router = Router(shared(manifest, 0.1))
    found = {n: router.decide("x", Context(task="a", request=f"s{n}")).model for n in range(4000)}
    assert 340 < Counter(found.values())["a_v2"] < 460  # 400 ± 3 standard deviations
    assert all(router.decide("other", Context(task="a", request=f"s{n}")).model == found[n] for n in range(50))
    assert router.decide("x", Context(task="a")).model == "a"  # without a session the larger share answers
    more = Router(shared(manifest, 0.3))
    moved = {n for n in found if more.decide("x", Context(task="a", request=f"s{n}")).model == "a_v2"}
    assert {n for n, model in found.items() if model == "a_v2"} <= moved  # a larger share keeps who was there


def test_a_canary_that_is_down_or_loaded_is_passed_by(manifest: RoutingManifest):
    router = Router(shared(manifest, 0.5))
    ids = [f"s{n}" for n in range(100)]
    down = {router.decide("x", Context(task="a", request=i, down=frozenset({"a_v2"}))).model for i in ids}
    busy = {router.decide("x", Context(task="a", request=i, load={"a_v2": 0.9})).model for i in ids}
    assert down == busy == {"a"}
    decision = router.decide("x", Context(task="a", load={"a": 0.9}))
    assert decision.model == "a_v2" and router.escalate("x", decision, "error").model == "generalist"


def test_the_life_of_a_canary(chain: Chain):
    chain.promote(chain.release())
    second = chain.release("b")
    with pytest.raises(InvalidInput, match="version 2 is no canary"):
        chain.desk.canary(second, 0.0, ME)
    with pytest.raises(InvalidInput, match=r"between 0 and 1, found 1\.5"):
        chain.desk.canary(second, 1.5, ME)
    chain.desk.canary(second, 0.25, ME)
    published = chain.desk.publish()
    (route,) = published.manifest.routes
    assert [(c.model, c.weight) for c in route.candidates] == [("tiny_reviews", 0.75), ("tiny_reviews_v2", 0.25)]
    models = {model.name: model for model in published.manifest.models}
    assert models["tiny_reviews_v2"].mlflow.model_dump() == {"name": "tiny_reviews", "version": 2}
    assert models["tiny_reviews_v2"].artifact.sha256 == second.digests["artifact"]
    assert [row["why"] for row in live_rows(published, chain.settings)][1] == "try it"
    assert "tiny_reviews: send 25% of its requests to version 2" in [
        row["what"] for row in log_rows(Log(chain.settings.home).entries())
    ]
    assert verify_all(chain.settings, chain.store)[0] == 1 and chain.aliases() == {"champion": 1, "challenger": 2}
    assert '"TINY_REVIEWS_V2_URL"' not in compiler("litellm")(published.manifest).text
    assert "os.environ/TINY_REVIEWS_V2_URL" in compiler("litellm")(published.manifest).text
    chain.promote(second)
    (route,) = chain.desk.publish().manifest.routes
    assert [(c.model, c.weight) for c in route.candidates] == [("tiny_reviews", 1.0)]


def test_a_canary_sees_only_texts_that_it_may_see(tiny_recipe, tmp_path):
    settings, store = Settings(home=tmp_path / "home"), Store(tmp_path / "store")
    here = [o.model_copy(update={"zone": "eu"}) if o.role == "data" else o for o in ORIGINS]
    there = [Origin(role="base", name="tiny", license="CC0-1.0", zone="us")]
    eu = Live.of(release_made_by_hand(tiny_recipe, store, origins=here))
    us = Live.of(release_made_by_hand(tiny_recipe, store, version=2, salt="b", origins=there))
    fleet = FLEET.model_copy(update={"fallback": FLEET.fallback.model_copy(update={"zone": "eu"})})
    with pytest.raises(InvalidInput, match=r"tiny_reviews -> tiny_reviews_v2: text would leave zone eu .* \(zone us\)"):
        compose([eu, Live(us.name, 2, us.claims, share=0.1)], fleet, settings, store)


def test_a_champion_that_goes_takes_its_canary_along():
    standing = Standing(champion=1, canary=(2, 0.1), claims={})
    from registry.decisions import Moved

    for action, version in (("retire", 1), ("retire", 2), ("promote", 2), ("canary", 2)):
        what = Moved.model_validate({"action": action, "model": "m", "version": version, "replaced": 1})
        assert standing.after(what).canary is None, action
    assert champions_of({"m": Standing()}) == []
