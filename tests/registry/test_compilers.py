"""What is compiled is valid for its target and says what it lost."""

from pathlib import Path

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st
from typer.testing import CliRunner

from assets.cli import app
from registry.compilers.litellm import compile_litellm
from registry.manifest import publish
from registry.routing import RoutingManifest
from registry.terms import ANY, CAUSES, NOBODY
from supply_chain.errors import InvalidInput
from supply_chain.settings import Settings
from supply_chain.store import Store
from tests.registry.evidence import fleet_of, release_made_by_hand
from tests.registry.work import FLEET


def test_causes_become_litellms_fallbacks_and_losses_are_told(manifest: RoutingManifest):
    by_cause = {"error": "b", "timeout": "generalist", "low_confidence": "b", "context_overflow": "generalist"}
    first = {
        "name": "a",
        "fallbacks": {**by_cause, "policy": NOBODY},
        "min_confidence": 0.7,
        "zone": "eu",
        "max_hops": 1,
    }
    compiled = compile_litellm(fleet_of(manifest, first, {"name": "b", "task": "bee"}))
    config = yaml.safe_load(compiled.text)
    assert [entry["model_name"] for entry in config["model_list"]] == ["a", "bee", "generalist"]
    assert config["model_list"][1]["litellm_params"] == {
        "model": "openai/b", "api_base": "os.environ/B_URL", "api_key": "none", "weight": 1.0, "temperature": 0.0,
    }  # fmt: skip
    assert config["model_list"][2]["litellm_params"]["api_base"] == "os.environ/GENERALIST_URL"
    assert config["router_settings"] == {
        "routing_strategy": "simple-shuffle",
        "max_fallbacks": 1,
        "fallbacks": [{"a": ["bee"]}, {"bee": ["generalist"]}],
        "context_window_fallbacks": [{"a": ["generalist"]}, {"bee": ["generalist"]}],
        "content_policy_fallbacks": [{"bee": ["generalist"]}],
    }
    assert compiled.lost == [
        "a: LiteLLM treats a timeout as an error: b answers then",
        "the lowest of max_hops (1) holds for all routes",
        "a: an answer below confidence 0.7 is passed on as it is",
        "a: nothing keeps a request that did not come by this route out of zone eu",
        "LiteLLM does not know how sensitive a text is: whoever calls keeps what is above internal from others",
    ]


@st.composite
def fleets(draw) -> list[dict]:
    names = draw(st.lists(st.sampled_from("abcd"), min_size=1, max_size=4, unique=True))
    targets = st.sampled_from([*names, "generalist", NOBODY])
    return [{"name": n, "fallbacks": {cause: draw(targets) for cause in CAUSES}, "zone": ANY} for n in names]


@settings(max_examples=100, deadline=None)
@given(fleets())
def test_every_fallback_names_a_model_that_is_there(manifest: RoutingManifest, parts):
    config = yaml.safe_load(compile_litellm(fleet_of(manifest, *parts)).text)
    there = {entry["model_name"] for entry in config["model_list"]}
    for setting in ("fallbacks", "context_window_fallbacks", "content_policy_fallbacks"):
        for pair in config["router_settings"][setting]:
            assert {*pair, *(name for targets in pair.values() for name in targets)} <= there


@settings(max_examples=25, deadline=None)
@given(fleets())
def test_litellm_takes_it(manifest: RoutingManifest, parts):
    litellm = pytest.importorskip("litellm")
    config = yaml.safe_load(compile_litellm(fleet_of(manifest, *parts)).text)
    litellm.Router(model_list=config["model_list"], **config["router_settings"])


def test_the_command(tiny_recipe, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    home = Settings(home=tmp_path / "home")
    store = Store(tmp_path / "store")
    publish([release_made_by_hand(tiny_recipe, store)], FLEET, home, store)
    monkeypatch.setenv("SUPPLY_CHAIN_HOME", str(home.home))
    result = CliRunner().invoke(app, ["manifest", "compile", "litellm"])
    assert result.exit_code == 0 and yaml.safe_load(result.stdout)["model_list"][0]["model_name"] == "tiny-reviews"
    result = CliRunner().invoke(app, ["manifest", "compile", "nginx"])
    assert isinstance(result.exception, InvalidInput) and "no compiler for 'nginx'" in str(result.exception)
