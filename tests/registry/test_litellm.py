"""Our router inside a running LiteLLM proxy: who answers, escalation, limits, and headers that show the route."""

import json
import os
from pathlib import Path

import pytest
import yaml

from registry.compilers import compiler
from registry.router import Router
from registry.router.proxying import AUTO, after, confidence_of, context_of, shown, text_of
from registry.routing import RoutingManifest
from registry.terms import CAUSES, NOBODY
from supply_chain.errors import InvalidInput
from supply_chain.settings import PROJECT
from tests.registry.evidence import fleet_of
from tests.registry.proxy import ask, proxy, specialist

LITELLM = Path(os.environ.get("LITELLM", PROJECT / ".litellm/bin/litellm"))


@pytest.fixture
def fleet(manifest: RoutingManifest) -> RoutingManifest:
    """a → b → generalist; b stays in the EU."""
    to_b = dict.fromkeys(CAUSES, "b")
    return fleet_of(
        manifest,
        {"name": "a", "keywords": ["alpha"], "fallbacks": to_b, "min_confidence": 0.8, "context_tokens": 100},
        {"name": "b", "keywords": ["beta"], "fallbacks": dict.fromkeys(CAUSES, "generalist"), "context_tokens": 100},
        {"name": "c", "keywords": ["gamma"], "fallbacks": dict.fromkeys(CAUSES, NOBODY), "zone": "eu"},
    )


def test_what_a_request_says(fleet: RoutingManifest):
    router = Router(fleet)
    context = context_of("a", router, {"X-Supply-Chain-Zone": "eu", "x-supply-chain-max-p95-ms": "40", "x-other": "1"})
    assert (context.task, context.zone, context.max_p95_ms, context.request) == ("a", "eu", 40.0, None)
    assert context_of(AUTO, router, {"x-supply-chain-session": "s1"}).request == "s1"
    for asked, headers, said in [
        ("generalist", {}, "no route 'generalist'; ask for auto or a task: a, b, c"),
        (AUTO, {"x-supply-chain-sensitivity": "top"}, "expected one of public"),
        (AUTO, {"x-supply-chain-max-p95-ms": "fast"}, "'fast', expected a number"),
    ]:
        with pytest.raises(InvalidInput, match=said):
            context_of(asked, router, headers)
    messages = [{"role": "user", "content": "old"}, {"role": "user", "content": [{"type": "text", "text": "new"}]}]
    assert text_of([*messages, {"role": "assistant", "content": "x"}]) == "new"
    assert text_of([]) == ""


def test_the_chain_and_what_is_shown(fleet: RoutingManifest):
    router = Router(fleet)
    context = context_of("a", router, {})
    first = router.decide("x", context)
    assert [step.model for step in after(router, "x", first, "error", context)] == ["b", "generalist"]
    alone = router.decide("x", context_of("c", router, {}))
    assert list(after(router, "x", alone, "error", context_of("c", router, {}))) == []
    headers = shown(router, first, 0.25)
    assert headers["x-supply-chain-model"] == "a" and headers["x-supply-chain-confidence"] == "0.2500"
    assert shown(Router(fleet), router.decide("ä\nß", context))["x-supply-chain-reasons"].isascii()


def test_confidence_is_that_of_all_tokens():
    tokens = [{"logprob": -0.1}, {"logprob": -0.2}]
    assert confidence_of({"logprobs": {"content": tokens}}) == pytest.approx(0.740818, abs=1e-6)
    assert confidence_of({"logprobs": None}) is None and confidence_of({}) is None


def test_the_configuration_names_everyone_once(fleet: RoutingManifest):
    compiled = compiler("litellm-plugin")(fleet)
    config = yaml.safe_load(compiled.text)
    assert [entry["model_name"] for entry in config["model_list"]] == ["a", "b", "c", "generalist"]
    assert config["litellm_settings"] == {"callbacks": ["registry.router.litellm.plugin"]}
    assert len(compiled.lost) == 5 and compiled.lost[2].startswith("a: its confidence is that of the tokens")


@pytest.mark.skipif(not LITELLM.exists(), reason="make litellm")
def test_a_running_proxy(fleet: RoutingManifest, tmp_path: Path):
    fleet = fleet.model_copy(update={"router": None})
    path, config = tmp_path / "routing-manifest.json", tmp_path / "config.yaml"
    path.write_text(json.dumps(fleet.model_dump(mode="json")))
    config.write_text(compiler("litellm-plugin")(fleet).text)
    with specialist() as a, specialist() as b, specialist() as last:
        urls = {name: f"http://127.0.0.1:{server.server_address[1]}"
                for name, server in (("A_URL", a), ("B_URL", b), ("C_URL", b), ("GENERALIST_URL", last))}  # fmt: skip
        with proxy(LITELLM, config, path, urls) as address:
            status, answer, route = ask(address, AUTO, "an alpha question")
            assert (status, answer) == (200, "a")
            assert route["model"] == "a" and route["route"] == "a" and route["confidence"] == "0.9000"
            assert route["reasons"] == "rule: keyword alpha; a: chosen" and route["generation"] == "1"
            assert ask(address, AUTO, "nothing known")[1] == "generalist"

            a.confidence = 0.5  # unsure: the route asks for 0.8
            status, answer, route = ask(address, "a", "x")
            assert (status, answer, route["model"], route["hops"]) == (200, "b", "b", "1")
            assert "a: low_confidence" in route["reasons"]

            a.status = 500
            status, answer, route = ask(address, "a", "x")
            assert (status, answer, route["model"]) == (200, "b", "b") and "a: error" in route["reasons"]

            status, told, route = ask(address, "a", "x", zone="mars")
            assert status == 503 and "the text must stay in mars" in told
            status, told, _ = ask(address, "generalist", "x")
            assert status == 400 and "ask for auto or a task" in told
