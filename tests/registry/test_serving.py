"""One generation served here: answers and confidences are the evaluated ones; nothing outlives who serves."""

import json
import math
import os
import signal
import subprocess
import sys
import time
import urllib.error
import urllib.request
from pathlib import Path

import psutil
import pytest

from registry.manifest import publish
from registry.serving.children import Children, free_port
from registry.serving.demo import STRANGER
from registry.serving.fleet import plan_of
from registry.serving.process import Spoken
from supply_chain.answer import Answer, Answerer
from supply_chain.data.examples import read_split
from supply_chain.errors import EvidenceMismatch, InvalidInput, Unavailable
from supply_chain.recipe import Recipe
from supply_chain.records import Artifact, Splits
from supply_chain.settings import PROJECT, Settings
from supply_chain.store import Store, Stored
from tests.registry.evidence import release_made_by_hand, store_artifact
from tests.registry.proxy import specialist
from tests.registry.work import FLEET

LITELLM = Path(os.environ.get("LITELLM", PROJECT / ".litellm/bin/litellm"))
TEXTS = ["the phone is great", "the cable is broken and the lens is noisy"]


@pytest.fixture(scope="module")
def weights(tiny_model: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """`tiny_model` as GGUF; the folder itself where llama.cpp is not installed."""
    try:
        import cyllama  # noqa: F401
    except ImportError:
        return tiny_model
    from supply_chain.formats.gguf import write_gguf
    from supply_chain.recipe.quantize import Gguf

    folder = tmp_path_factory.mktemp("gguf")
    write_gguf(tiny_model, folder, Gguf(scheme="gguf"))
    return folder


@pytest.fixture
def artifact(tiny_recipe: Recipe, weights: Path, store: Store) -> Stored[Artifact]:
    return store_artifact(tiny_recipe, store, model=weights)


def call(url: str, body: object = None) -> tuple[int, str]:
    data = None if body is None else json.dumps(body).encode()
    try:
        with urllib.request.urlopen(urllib.request.Request(url, data, {"Content-Type": "application/json"})) as reply:
            return reply.status, reply.read().decode()
    except urllib.error.HTTPError as error:
        return error.code, error.read().decode()


def said(text: str, **more: object) -> dict[str, object]:
    return {
        "model": "s",
        "messages": [{"role": "system", "content": "be rude"}, {"role": "user", "content": text}],
    } | more


def test_answers_are_the_evaluated_ones(artifact: Stored[Artifact], tiny_model: Path, tmp_path: Path):
    own, port = Answerer(artifact.path), free_port()
    plan = tmp_path / "plan.json"
    plan.write_text(Spoken(port=port, specialists={"s": artifact.path}, chatting={"g": tiny_model}).model_dump_json())
    chat = f"http://127.0.0.1:{port}/v1/chat/completions"
    with Children(tmp_path) as children:
        children.start("models", [sys.executable, "-m", "registry.serving.process", str(plan)], {})
        children.ready("models", f"http://127.0.0.1:{port}/health")
        for text, expected in zip(TEXTS, own.answer(TEXTS), strict=True):
            status, told = call(chat, said(text, temperature=2, seed=3))
            (choice,) = json.loads(told)["choices"]
            assert (status, choice["message"]["content"]) == (200, expected.label)
            (token,) = choice["logprobs"]["content"]
            assert math.exp(token["logprob"]) == pytest.approx(expected.confidence, abs=1e-6)
            assert json.loads(told)["usage"]["prompt_tokens"] == own.tokens(text)
        status, told = call(chat, said(TEXTS[0], stream=True))
        first, done = told.strip().split("\n\n")
        assert json.loads(first.removeprefix("data: "))["choices"][0]["delta"]["content"] in own.serving.labels
        assert done == "data: [DONE]"

        status, told = call(chat, said(TEXTS[0], model="g"))
        assert status == 200 and json.loads(told)["choices"][0]["logprobs"] is None
        assert [m["id"] for m in json.loads(call(f"http://127.0.0.1:{port}/v1/models")[1])["data"]] == ["s", "g"]
        for body, code, message in [
            (said("x", model="t"), "model_not_found", "no model 't'; there are: s, g"),
            (said(" "), None, "the last one of a user holds no text"),
            ({"model": "s"}, None, "messages: Field required"),
            (said("x y " * 600), "context_length_exceeded", "maximum context length is 512 tokens"),
        ]:
            status, told = call(chat, body)
            error = json.loads(told)["error"]
            assert status in (400, 404) and error["code"] == code and message in error["message"]
        assert call(chat, said(TEXTS[0]))[0] == 200  # a refusal leaves it as it was
    with pytest.raises(urllib.error.URLError):
        call(chat, said("x"))


def test_a_damaged_model_is_not_served(artifact: Stored[Artifact], tmp_path: Path):
    (artifact.path / "salt.txt").write_text("other")
    plan, port = tmp_path / "plan.json", free_port()
    plan.write_text(Spoken(port=port, specialists={"s": artifact.path}).model_dump_json())
    with Children(tmp_path) as children:
        children.start("models", [sys.executable, "-m", "registry.serving.process", str(plan)], {})
        with pytest.raises(
            Unavailable, match=r"models ended with exit code 2: (.|\n)*salt\.txt are missing or damaged"
        ):
            children.ready("models", f"http://127.0.0.1:{port}/health")


def test_everything_that_is_missing_is_named(
    tiny_recipe: Recipe, settings: Settings, store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.delenv("GENERALIST_URL", raising=False)
    nowhere = tmp_path / "nowhere"
    with pytest.raises(InvalidInput, match="no manifest was published yet"):
        plan_of(settings, store, nowhere, 4000, demo=True)
    release = release_made_by_hand(tiny_recipe, store)
    publish([release], FLEET, settings, store)
    folder = store.root / "artifact" / release.claims().artifact.key
    with pytest.raises(Unavailable, match="missing") as error:
        plan_of(settings, store, nowhere, 4000, demo=False)
    assert str(error.value).splitlines()[1:] == [
        "  an endpoint for generalist: export GENERALIST_URL=http://HOST/v1 or let a base model stand in with --demo",
        f"  LiteLLM's proxy, {nowhere}: make litellm",
    ]
    entry = folder / "entry.json"
    entry.write_text(entry.read_text().replace('"sha256":"', '"sha256":"0', 1))
    with pytest.raises(EvidenceMismatch, match="is not what the manifest names"):
        plan_of(settings, store, nowhere, 4000, demo=True)
    folder.rename(tmp_path / "away")
    with pytest.raises(Unavailable, match="the weights of tiny_reviews: set SUPPLY_CHAIN_STORE"):
        plan_of(settings, store, nowhere, 4000, demo=True)


def test_a_taken_port_is_said():
    import socket

    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        with pytest.raises(
            InvalidInput, match=r"cannot be used \(Address already in use\): name another one with --port"
        ):
            free_port(taken.getsockname()[1])


def test_nothing_outlives_a_killed_server(tmp_path: Path):
    code = (
        "import sys; from pathlib import Path; from registry.serving.children import Children\n"
        "children = Children(Path(sys.argv[1])); children.start('a', ['sleep', '300'], {})\n"
        "print(children.running['a'].pid, flush=True); children.watch()"
    )
    with subprocess.Popen([sys.executable, "-c", code, str(tmp_path)], cwd=PROJECT, stdout=subprocess.PIPE) as server:
        child = psutil.Process(int(server.stdout.readline()))
        while child.name() != "sleep":  # until it has asked to end with its parent
            time.sleep(0.05)
        server.kill()
        psutil.wait_procs([child], timeout=20)
        assert not child.is_running() or child.status() == psutil.STATUS_ZOMBIE


def published(
    recipe: Recipe, artifact: Stored[Artifact], splits: Stored[Splits], settings: Settings, store: Store
) -> list[Answer]:
    """Publishes a champion whose route passes the less sure half of its first answers on; returns these answers."""
    found = Answerer(artifact.path).answer([row.text for row in read_split(splits, "test")[:12]])
    middle = sorted(answer.confidence for answer in found)[len(found) // 2]
    recipe = recipe.model_copy(update={"route": recipe.route.model_copy(update={"min_confidence": middle})})
    publish([release_made_by_hand(recipe, store, splits_digest=splits.digest)], FLEET, settings, store)
    return found


@pytest.mark.slow
@pytest.mark.skipif(not LITELLM.exists(), reason="make litellm")
def test_the_demo_from_end_to_end(
    tiny_recipe: Recipe, artifact: Stored[Artifact], tiny_splits: Stored[Splits], settings: Settings, store: Store
):
    found = published(tiny_recipe, artifact, tiny_splits, settings, store)
    with specialist() as last:
        url = f"http://127.0.0.1:{last.server_address[1]}"
        environment = {**os.environ, **settings.environment(), "GENERALIST_URL": url, "LITELLM": str(LITELLM)}
        command = [sys.executable, "-m", "assets.cli", "serve", "--demo", "--port", str(free_port())]
        with subprocess.Popen(command, cwd=PROJECT, env=environment, stdout=subprocess.PIPE, text=True) as served:
            lines = []
            for line in served.stdout:
                lines.append(line.rstrip())
                if line.startswith("serving;"):
                    break
            children = psutil.Process(served.pid).children(recursive=True)
            served.send_signal(signal.SIGINT)
            rest, code = served.stdout.read(), served.wait()
    shown = "\n".join(lines)
    assert (rest, code) == ("stopped\n", 0), shown
    assert len(children) >= 2 and not [child for child in children if child.is_running()]
    kept, passed_on, stranger = shown.split("\n\n")[1:4]
    if "hops: 1" in kept:
        kept, passed_on = passed_on, kept
    assert "x-supply-chain-hops: 0" in kept and "x-supply-chain-model: tiny_reviews" in kept
    sure = next(answer for answer in found if f"x-supply-chain-confidence: {answer.confidence:.4f}" in kept)
    assert f"  200 {sure.label}\n" in kept
    assert "tiny_reviews: low_confidence (0." in passed_on and "x-supply-chain-model: generalist" in passed_on
    assert stranger.startswith(f"auto: {STRANGER}") and "no rule matched" in stranger
