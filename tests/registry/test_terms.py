"""Licence, sensitivity and zone travel from origins to routes, through any number of fallbacks."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from registry.fleet import Fleet, Policy
from registry.manifest import publish
from registry.terms import ANY, CAUSES, LEVELS, NOBODY, Terms, flow_faults, term_faults, terms_of, use_of
from supply_chain.errors import InvalidInput
from supply_chain.records import Origin
from supply_chain.settings import Settings
from supply_chain.store import Store
from tests.registry.evidence import release_made_by_hand
from tests.registry.work import FLEET

POLICY = Policy()
BASE = Origin(role="base", name="tiny", license="Apache-2.0")


def data(**changes) -> Origin:
    return Origin(**{"role": "data", "name": "reviews", "license": "MIT", "sensitivity": "internal", **changes})


@pytest.mark.parametrize(
    ("license", "use"),
    [("MIT", "commercial"), ("apache-2.0", "commercial"), ("CC-BY-NC-4.0", "research"), ("CC-BY-NC-SA-3.0", "research"),
     ("proprietary", "commercial"), ("CC-BY-4.0", "commercial"), ("found on a forum", None), ("", None)],
)  # fmt: skip
def test_what_licences_permit(license, use):
    assert use_of(license, POLICY) == use


def test_the_policy_wins_over_the_list():
    policy = Policy(licenses={"mit": "research", "Found on a forum": "commercial"})
    assert (use_of("MIT", policy), use_of("found on a forum", policy)) == ("research", "commercial")


def test_terms_are_the_narrowest():
    teacher = Origin(role="teacher", name="big", license="CC-BY-NC-4.0", sensitivity="confidential")
    assert terms_of([BASE, data()], POLICY) == Terms("commercial", "internal", ANY)
    assert terms_of([BASE, data(zone="eu"), teacher], POLICY) == Terms("research", "confidential", "eu")


def test_each_fault_shows_its_way():
    teacher = Origin(role="teacher", name="big", license="research-only")
    assert list(term_faults("m", "t", [BASE, data()], POLICY)) == []
    assert list(term_faults("m", "t", [BASE, data(), teacher], Policy(use="research"))) == []
    assert list(term_faults("m", "t", [BASE, data(license="CC-BY-NC-4.0"), teacher], POLICY)) == [
        "data reviews (CC-BY-NC-4.0) -> model m -> route t: CC-BY-NC-4.0 permits research only, the fleet's use is "
        "commercial",
        "teacher big (research-only) -> model m -> route t: research-only permits research only, the fleet's use is "
        "commercial",
    ]
    (fault,) = term_faults("m", "t", [BASE, data(license="odd")], POLICY)
    assert "what 'odd' permits is not known" in fault and "policy.licenses: {odd: commercial}" in fault
    (fault,) = term_faults("m", "t", [data(zone="eu"), data(name="more", zone="us")], POLICY)
    assert fault == "data reviews (eu), data more (us) -> model m: one model cannot stay in 2 zones"
    (fault,) = term_faults("m", "t", [], POLICY)
    assert "does not say what it was made from" in fault


def to(*names: str) -> dict:
    """Fallbacks, by cause."""
    return {cause: names[i % len(names)] for i, cause in enumerate(CAUSES)}


def fleet(zone: str = ANY, accepts: str = "internal") -> Fleet:
    last = FLEET.fallback.model_copy(update={"zone": zone, "accepts": accepts})
    return FLEET.model_copy(update={"fallback": last})


def test_text_does_not_leave_its_zone_by_way_of_others():
    eu = Terms("commercial", "internal", "eu")
    routes = {"a": (eu, to("b")), "b": (eu, to("b2", "none")), "b2": (eu, to("generalist"))}
    assert sorted(flow_faults(routes, fleet())) == [
        "a -> b -> b2 -> generalist: text would leave zone eu for generalist (zone any)",
        "b -> b2 -> generalist: text would leave zone eu for generalist (zone any)",
        "b2 -> generalist: text would leave zone eu for generalist (zone any)",
    ]
    assert list(flow_faults(routes, fleet(zone="eu"))) == []


def test_confidential_text_does_not_reach_who_may_not_see_it():
    secret = Terms("commercial", "confidential", ANY)
    routes = {"a": (secret, to("generalist")), "b": (secret, to(NOBODY))}
    assert list(flow_faults(routes, fleet())) == [
        "a -> generalist: confidential text would reach generalist, which may see internal text at most"
    ]
    assert list(flow_faults(routes, fleet(accepts="restricted"))) == []


NAMES = ["a", "b", "c", "d", "generalist", NOBODY]
terms = st.builds(Terms, st.just("commercial"), st.sampled_from(LEVELS), st.sampled_from([ANY, "eu", "us"]))
fallbacks = st.lists(st.sampled_from(NAMES), min_size=1, max_size=3).map(lambda names: to(*names))
fleets = st.builds(fleet, st.sampled_from([ANY, "eu", "us"]), st.sampled_from(LEVELS))


@settings(max_examples=500, deadline=None)
@given(st.dictionaries(st.sampled_from(NAMES[:4]), st.tuples(terms, fallbacks), max_size=4), fleets)
def test_no_accepted_fleet_lets_text_out(routes, made: Fleet):
    """Against a closure by repeated steps, which knows nothing of paths."""
    accepts = dict.fromkeys(routes, LEVELS[-1]) | {"generalist": made.fallback.accepts}
    zones = {name: found.zone for name, (found, _) in routes.items()} | {"generalist": made.fallback.zone}
    wrong = False
    for name, (own, first) in routes.items():
        reached = set(first.values())
        for _ in range(6):
            reached |= {n for at in reached if at in routes for n in routes[at][1].values()}
        for at in reached - {NOBODY}:
            if at not in zones or at == name:
                wrong = True
            else:
                wrong |= own.zone not in (ANY, zones[at])
                wrong |= LEVELS.index(own.sensitivity) > LEVELS.index(accepts[at])
    assert bool(list(flow_faults(routes, made))) == wrong


def test_a_fleet_that_breaks_its_terms_is_not_published(tiny_recipe, tmp_path):
    store = Store(tmp_path / "store")
    origins = [BASE, data(license="CC-BY-NC-4.0", sensitivity="confidential", zone="eu")]
    release = release_made_by_hand(tiny_recipe, store, origins=origins)
    with pytest.raises(InvalidInput) as error:
        publish([release], FLEET, Settings(home=tmp_path / "home"), store)
    assert str(error.value).splitlines() == [
        "the manifest was not published; mend recipes or fleet.yaml:",
        "  data reviews (CC-BY-NC-4.0) -> model tiny_reviews -> route tiny-reviews: CC-BY-NC-4.0 permits research "
        "only, the fleet's use is commercial",
        "  tiny_reviews -> generalist: confidential text would reach generalist, which may see internal text at most",
    ]
    ours = FLEET.model_copy(update={"policy": Policy(use="research"), "fallback": fleet("eu", "restricted").fallback})
    (model,) = publish([release], ours, Settings(home=tmp_path / "home"), store).manifest.models
    assert (model.use, model.sensitivity, model.zone) == ("research", "confidential", "eu")
