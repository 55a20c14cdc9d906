"""Whatever the fleet, each target takes what is compiled for it, and what it cannot say is told."""

import json
import re
import shlex
import sys
from pathlib import Path
from types import ModuleType

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from registry.compilers import TARGETS, compiler
from registry.compilers.places import dns_name
from registry.routing import AdapterAt, Candidate, Decoding, RoutingManifest
from registry.terms import CAUSES, NOBODY
from supply_chain.settings import PROJECT
from tests.registry.evidence import fleet_of

DNS = re.compile(r"[a-z0-9]([-a-z0-9]*[a-z0-9])?")
NAMES = ["a", "b_c", "d_", "bee"]
text = st.text(st.characters(codec="utf-8", exclude_categories=["Cs", "Cc"]), min_size=1, max_size=12)
ADAPTERS = [AdapterAt(uri="s3://b/adapter/k", sha256="a" * 64, rank=rank) for rank in (8, 40, None)]


@st.composite
def fleets(draw) -> list[dict]:
    names = draw(st.lists(st.sampled_from(NAMES), min_size=1, max_size=4, unique=True))
    tasks = draw(st.lists(text, min_size=len(names), max_size=len(names), unique=True))
    targets = st.sampled_from([*names, "generalist", NOBODY])
    return [
        {
            "name": name,
            "task": task,
            "keywords": draw(st.lists(text, max_size=2)),
            "utterances": draw(st.lists(text, max_size=2)),
            "fallbacks": {cause: draw(targets) for cause in CAUSES},
            "zone": draw(st.sampled_from(["any", "eu"])),
            "adapter": draw(st.sampled_from([None, *ADAPTERS])),
            "format": draw(st.sampled_from(["bnb-nf4", "gguf-q4_k_m", "onnx", "mlx", "executorch"])),
            "shared": draw(st.booleans()),
            "decoding": draw(st.sampled_from([None, Decoding(answers="written", temperature=0, max_new_tokens=9)])),
        }
        for name, task in zip(names, tasks, strict=True)
    ]


def made(manifest: RoutingManifest, parts: list[dict]) -> RoutingManifest:
    """The fleet of `parts`; a `shared` route also sends a tenth to the first model."""
    found = fleet_of(manifest, *parts)
    models = [m.model_copy(update={"artifact": m.artifact.model_copy(update={"format": p["format"]})})
              for m, p in zip(found.models, parts, strict=True)]  # fmt: skip
    routes = []
    for route, part in zip(found.routes, parts, strict=True):
        own = [Candidate(model=part["name"], weight=1.0)]
        if part["shared"] and part["name"] != models[0].name:
            own = [Candidate(model=part["name"], weight=0.9), Candidate(model=models[0].name, weight=0.1)]
        routes.append(route.model_copy(update={"candidates": own}))
    return found.model_copy(update={"models": models, "routes": routes})


@settings(max_examples=40, deadline=None)
@given(fleets())
def test_llama_swap(manifest: RoutingManifest, parts):
    fleet = made(manifest, parts)
    compiled = compiler("llama-swap")(fleet)
    config = yaml.safe_load(compiled.text)
    gguf = [p["name"] for p in parts if p["format"].startswith("gguf")]
    assert list(config["models"]) == gguf and set(config) == {"models", "peers"}
    assert sum("left out" in sentence for sentence in compiled.lost) == len(parts) - len(gguf)
    aliases = [alias for model in config["models"].values() for alias in model["aliases"]]
    assert len({*aliases, *gguf, "generalist"}) == len(aliases) + len(gguf) + 1
    assert config["peers"] == {"generalist": {"proxy": "${env.GENERALIST_URL}", "models": ["generalist"]}}
    for model in config["models"].values():
        assert set(model) <= {"cmd", "aliases", "metadata", "capabilities", "filters"}
        words = shlex.split(model["cmd"])
        assert words[words.index("--port") + 1] == "${PORT}" and words[words.index("--model") + 1].endswith(
            "model.gguf"
        )


@settings(max_examples=40, deadline=None)
@given(fleets())
def test_ollama(manifest: RoutingManifest, parts):
    compiled = compiler("ollama")(made(manifest, parts))
    assert set(compiled.files) == {f"{p['name']}.Modelfile" for p in parts if p["format"].startswith("gguf")}
    for name, lines in compiled.files.items():
        found = re.findall(r'^(\w+) (?:"""(.*?)"""|(.*))$', lines, re.M | re.S if '"""' in lines else re.M)
        words = [word for word, *_ in found]
        assert words[0] == "FROM" and {"FROM", "TEMPLATE", "PARAMETER", "LICENSE"} >= set(words), name
        assert 'TEMPLATE """{{ .Prompt }}\nLabel:"""' in lines and "PARAMETER num_ctx 512" in lines


@settings(max_examples=40, deadline=None)
@given(fleets())
def test_vllm(manifest: RoutingManifest, parts):
    compiled = compiler("vllm")(made(manifest, parts))
    commands = [shlex.split(line) for line in compiled.text.splitlines()[2:]]
    assert all(words[:2] == ["vllm", "serve"] for words in commands)
    served, shared = set(), [words for words in commands if "--enable-lora" in words]
    for words in shared:
        modules = [json.loads(word) for word in words[words.index("--lora-modules") + 1 :]]
        assert words[words.index("--max-loras") + 1] == str(len(modules)) == str(len({m["name"] for m in modules}))
        served |= {m["name"] for m in modules}
        ranks = {p["adapter"].rank for p in parts if p["adapter"]}
        room = "256" if None in ranks else "64" if 40 in ranks else "8"
        assert words[words.index("--max-lora-rank") + 1] == room
    assert len(shared) <= 1  # one base
    for words in commands:
        if words not in shared:
            start = words.index("--served-model-name") + 1
            served |= set(words[start : words.index("--max-model-len")]) - {"--quantization", "bitsandbytes"}
    answered = {p["name"] for p in parts if p["adapter"] or p["format"] == "bnb-nf4"}
    assert answered <= served
    assert {p["task"] for p in parts if p["name"] in answered} <= served


def kserve_models() -> ModuleType:
    """The SDK's generated models without its server half, which asks for other versions than ours."""
    folder = PROJECT / ".validators"
    if not (folder / "kserve").exists():
        pytest.skip("make validators")
    sys.path.append(str(folder))
    package = ModuleType("kserve")
    package.__path__ = [str(folder / "kserve")]
    sys.modules.setdefault("kserve", package)
    import kserve.models

    return kserve.models


def faults(value, kind: str, models: ModuleType, at: str = "") -> list[str]:
    """Where `value` is not what the SDK's model says: unknown keys and wrong types."""
    if kind.startswith("list["):
        return [f for i, item in enumerate(value) for f in faults(item, kind[5:-1], models, f"{at}[{i}]")]
    if kind.startswith("dict("):
        return [] if isinstance(value, dict) else [f"{at}: no mapping"]
    if kind in ("str", "int", "bool", "float", "object"):
        return [] if kind == "object" or type(value).__name__ == kind else [f"{at}: {value!r} is no {kind}"]
    model = getattr(models, kind, None)
    if model is None:
        return []  # Kubernetes' own
    names = {key: name for name, key in model.attribute_map.items()}
    return [
        fault
        for key, item in value.items()
        for fault in (
            faults(item, model.openapi_types[names[key]], models, f"{at}.{key}") if key in names else [f"{at}.{key}"]
        )
    ]


@settings(max_examples=40, deadline=None)
@given(fleets())
def test_kserve(manifest: RoutingManifest, parts):
    documents = list(yaml.safe_load_all(compiler("kserve")(made(manifest, parts)).text))
    documents = [d for d in documents if d]
    names = [document["metadata"]["name"] for document in documents]
    assert len(set(names)) == len(names) and all(DNS.fullmatch(name) and len(name) <= 63 for name in names)
    assert sum(d["kind"] == "InferenceService" for d in documents) == sum(p["format"] == "bnb-nf4" for p in parts)
    shared = [d for d in documents if d["kind"] == "LLMInferenceService"]
    adapters = [a["name"] for d in shared for a in d["spec"]["model"]["lora"]["adapters"]]
    assert adapters == (
        [p["name"] for p in parts if p["adapter"]] if sum(bool(p["adapter"]) for p in parts) > 1 else []
    )


@settings(max_examples=20, deadline=None)
@given(fleets())
def test_kserves_own_models_take_it(manifest: RoutingManifest, parts):
    models = kserve_models()
    kinds = {"InferenceService": "V1beta1InferenceService", "LLMInferenceService": "V1alpha1LLMInferenceService"}
    for document in yaml.safe_load_all(compiler("kserve")(made(manifest, parts)).text):
        if document:
            assert faults(document, kinds[document["kind"]], models) == []
            document["spec"]["predictr"] = {}
            assert document["kind"] == "LLMInferenceService" or faults(document, kinds[document["kind"]], models)


@settings(max_examples=5, deadline=None)  # a second each
@given(fleets())
def test_the_semantic_routers_own_validator_takes_it(manifest: RoutingManifest, tmp_path_factory, parts):
    parser = pytest.importorskip("cli.parser")
    from cli.validator import validate_user_config

    compiled = compiler("semantic-router")(made(manifest, parts))
    path = tmp_path_factory.mktemp("sr") / "config.yaml"
    path.write_text(compiled.text, encoding="utf-8")
    assert validate_user_config(parser.parse_user_config(str(path), log_summary=False), log_summary=False) == []
    config = yaml.safe_load(compiled.text)
    assert config["routing"]["decisions"][-1]["modelRefs"] == [{"model": "generalist", "use_reasoning": False}]


@settings(max_examples=40, deadline=None)
@given(fleets())
def test_envoy(manifest: RoutingManifest, parts):
    documents = [d for d in yaml.safe_load_all(compiler("envoy-ai-gateway")(made(manifest, parts)).text) if d]
    there = {d["metadata"]["name"] for d in documents if d["kind"] == "AIServiceBackend"}
    assert there == {dns_name(name) for name in [*(p["name"] for p in parts), "generalist"]}
    assert all(DNS.fullmatch(d["metadata"]["name"]) for d in documents)
    rules = [rule for d in documents if d["kind"] == "AIGatewayRoute" for rule in d["spec"]["rules"]]
    asked = [rule["matches"][0]["headers"][0]["value"] for rule in rules]
    assert asked == [*(p["task"] for p in parts), "generalist"]
    for rule, part in zip(rules, parts, strict=False):
        assert {ref["name"] for ref in rule["backendRefs"]} <= there
        behind = [ref["modelNameOverride"] for ref in rule["backendRefs"] if ref["priority"]]
        first = {ref["modelNameOverride"] for ref in rule["backendRefs"] if not ref["priority"]}
        after = part["fallbacks"]["error"]
        assert behind == ([] if after == NOBODY or after in first else [after])


@settings(max_examples=25, deadline=None)
@given(fleets())
def test_nothing_is_dropped_silently(manifest: RoutingManifest, parts):
    fleet = made(manifest, [{**part, "min_confidence": 0.7} for part in parts])
    for target in set(TARGETS) - {"litellm-plugin"}:
        lost = compiler(target)(fleet).lost
        for route in fleet.routes:
            assert f"{route.task}: an answer below confidence 0.7 is passed on as it is" in lost, target
            if route.zone != "any":
                assert any(s.startswith(f"{route.task}: nothing keeps a request") for s in lost), target
            if len(route.candidates) > 1 and target not in ("litellm", "semantic-router", "envoy-ai-gateway"):
                assert any(s.startswith(f"{route.task}: requests are not shared out") for s in lost), target


def test_names_for_kubernetes_stay_apart():
    names = ["a_b", "a_b_", "a__b", "x" * 61, "x" * 60, "a@2", "review_sentiment"]
    safe = [dns_name(name) for name in names]
    assert len(set(safe)) == len(names) and all(DNS.fullmatch(s) and len(s) <= 53 for s in safe)
    assert safe[0] == "a-b" and safe[-1] == "review-sentiment"


def test_paths_are_quoted(manifest: RoutingManifest, tmp_path: Path):
    at = manifest.models[0].artifact.model_copy(update={"uri": (tmp_path / "a b;c").as_uri(), "format": "gguf-q8_0"})
    fleet = manifest.model_copy(update={"models": [manifest.models[0].model_copy(update={"artifact": at})]})
    (model,) = yaml.safe_load(compiler("llama-swap")(fleet).text)["models"].values()
    assert f"{tmp_path}/a b;c/model.gguf" in shlex.split(model["cmd"])
    assert f"FROM {tmp_path}/a b;c/model.gguf" in compiler("ollama")(fleet).text
