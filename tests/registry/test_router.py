"""Rules first, then the classifier; nobody gets a text that they may not see, and every choice says why."""

import itertools
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import settings as effort
from hypothesis import strategies as st

from registry.fleet import Fleet, RouterPolicy
from registry.manifest import publish
from registry.router import Context, Router
from registry.router.classifier import TENSORS, TEXTS, Classifier
from registry.router.train import Row, evaluate, fit
from registry.router.words import Words
from registry.routing import RoutingManifest
from registry.signing import trusted
from registry.terms import ANY, CAUSES, LEVELS, NOBODY
from registry.versions import Release
from supply_chain.data.table import TableWriter
from supply_chain.errors import CorruptData, EvidenceMismatch, InvalidInput
from supply_chain.identity import identity
from supply_chain.recipe import Recipe
from supply_chain.records import Example, Splits
from supply_chain.settings import PROJECT, Settings
from supply_chain.store import Store
from tests.registry.evidence import fleet_of, release_made_by_hand
from tests.registry.work import FLEET


def words() -> Words:
    """Five merges over single letters; letters and merges point in fixed random directions."""
    letters = ["▁", *"abcdefghijklmnopqrstuvwxyz"]
    merges = ["▁ p", "▁p a", "▁pa y", "▁ f", "▁f l"]
    tokens = [f"<0x{byte:02X}>" for byte in range(256)] + letters + [merge.replace(" ", "") for merge in merges]
    codes = np.random.default_rng(3).integers(-127, 128, (len(tokens), 16)).astype(np.int8)
    scales = np.linspace(0.5, 1.5, len(tokens), dtype=np.float32)
    return Words({token: i for i, token in enumerate(tokens)}, merges, codes, scales)


ROWS = [Row(f"pay bill {w}", "bank", "pay") for w in "abcdefgh"] + [
    Row(f"fly to {w}", "travel", "fly") for w in "abcdefgh"
]


@pytest.fixture(scope="module")
def classifier() -> Classifier:
    return fit(ROWS, ROWS, words(), false_rejection=0.0)


def test_words_are_split_by_their_merges():
    made = words()
    ids = {name: made.vocabulary[name] for name in ("▁pay", "▁fl", "y", "<0xC3>", "<0xA9>", "▁")}
    assert made._ids("pay") == (ids["▁pay"],)
    assert made._ids("fly") == (ids["▁fl"], ids["y"])
    assert made._ids("é") == (ids["▁"], ids["<0xC3>"], ids["<0xA9>"])
    one = made.scales[ids["▁pay"]] * made.codes[ids["▁pay"]].astype(np.float32)
    np.testing.assert_allclose(made.embed("  pay "), one / np.linalg.norm(one), rtol=1e-6)
    assert not made.embed("").any() and np.isfinite(made.embed("\ud800 \x00" * 3000)).all()


def test_the_words_of_the_wheel_are_those_of_its_own_tokenizer():
    wordllama = pytest.importorskip("wordllama")
    from registry.router.words import wordllama_words

    ours = wordllama_words()
    theirs = wordllama.WordLlama.load(cache_dir=Path(wordllama.__file__).parent, disable_download=True)
    texts = ["how would you say fly in italian", "PAY my $3.50 bill, please!", "naïve café 日本 \U0001f600"]
    for text, vector in zip(texts, theirs.embed(texts, norm=True), strict=True):
        assert float(ours.embed(text) @ vector) > 0.9995  # 8-bit integers against 16-bit floats


def test_fit_needs_two_specialists_and_validation_rows():
    with pytest.raises(InvalidInput, match="at least two specialists"):
        fit(ROWS[:8], ROWS, words())
    with pytest.raises(InvalidInput, match="needs validation rows"):
        fit(ROWS, [], words())


def test_figures_are_counted(classifier: Classifier):
    figures = evaluate(classifier, ROWS, ["zzz qqq", "xkcd"])
    assert (figures.rows, figures.accuracy, figures.false_rejection, figures.foreign_rows) == (16, 1.0, 0.0, 2)
    assert evaluate(classifier, [*ROWS, Row("pay bill a", "travel", "fly")]).accuracy == 16 / 17


def test_a_saved_classifier_answers_alike_and_damage_shows(classifier: Classifier, tmp_path: Path):
    columns_first = np.asfortranarray(classifier.head)  # as scikit-learn may leave it
    Classifier(classifier.words, classifier.classes, columns_first, classifier.bias, classifier.threshold).save(
        tmp_path
    )
    again = Classifier.load(tmp_path)
    assert again.guess("pay bill q") == classifier.guess("pay bill q")
    first = {name: (tmp_path / name).read_bytes() for name in (TENSORS, TEXTS)}
    classifier.save(tmp_path)
    assert first == {name: (tmp_path / name).read_bytes() for name in first}
    (tmp_path / TENSORS).write_bytes(first[TENSORS][:-40])
    with pytest.raises(CorruptData, match="holds no whole router"):
        Classifier.load(tmp_path)


def test_rules_then_classifier_then_generalist(manifest: RoutingManifest, classifier: Classifier):
    found = fleet_of(manifest, {"name": "bank", "keywords": ["refund"]}, {"name": "travel", "keywords": ["visa"]})
    router = Router(found, classifier)
    assert router.decide("x", Context(task="travel")).reasons == ("rule: task travel was asked for", "travel: chosen")
    assert router.decide("I want a Refund!").reasons[0] == "rule: keyword refund"
    both = router.decide("pay bill a refund or visa")  # two rules are none
    assert both.reasons[0].startswith("classifier: ")
    learned = router.decide("fly to a")
    assert (learned.model, learned.route) == ("travel", "travel") and learned.confidence > 0.5
    odd = Router(found, Classifier(classifier.words, classifier.classes, classifier.head, classifier.bias, 1e9))
    assert odd.decide("fly to a").model == "generalist"
    assert "out of scope" in odd.decide("fly to a").reasons[0]
    with pytest.raises(InvalidInput, match="no route 'tax'; routes: bank, travel"):
        router.decide("x", Context(task="tax"))


@pytest.mark.parametrize(
    ("part", "context", "reason"),
    [
        ({}, {"down": frozenset({"a"})}, "a: is down"),
        ({"context_tokens": 16}, {}, "a: the text may have more than its 16 tokens"),
        ({}, {"max_p95_ms": 10.0}, "a: takes 45 ms"),
        ({}, {"max_usd_per_1k": 4.0}, "a: costs $5 for 1,000"),
        ({"zone": "us"}, {"zone": "eu"}, "a: is in zone us, the text must stay in eu"),
    ],
)
def test_who_is_unable_is_passed_over(manifest: RoutingManifest, part, context, reason):
    router = Router(fleet_of(manifest, {"name": "a", **part}, fallback={"zone": "eu"}))
    decision = router.decide(
        "one text of sixty characters, more or less, that says nothing", Context(task="a", **context)
    )
    assert decision.model == "generalist" and decision.hops == 1
    assert decision.reasons == ("rule: task a was asked for", reason, "generalist: chosen")


def test_escalation_by_cause_and_its_end(manifest: RoutingManifest):
    to = {**dict.fromkeys(CAUSES, NOBODY), "low_confidence": "b", "timeout": "generalist"}
    found = fleet_of(manifest, {"name": "a", "fallbacks": to, "max_hops": 1}, {"name": "b"})
    router = Router(found)
    first = router.decide("x", Context(task="a"))
    second = router.escalate("x", first, "low_confidence")
    assert (second.model, second.hops) == ("b", 1) and second.reasons[-2:] == ("a: low_confidence", "b: chosen instead")
    assert router.escalate("x", first, "timeout").model == "generalist"
    assert router.escalate("x", first, "error").reasons[-1] == "nobody else may answer"
    over = router.escalate("x", second, "error")
    assert over.model is None and over.reasons[-1] == "no further hop (at most 1)"
    with pytest.raises(InvalidInput, match="nothing to escalate from"):
        router.escalate("x", over, "error")


def test_the_least_loaded_of_a_routes_candidates(manifest: RoutingManifest):
    found = fleet_of(manifest, {"name": "a"}, {"name": "b"})
    one = found.routes[0].candidates[0]
    pair = [one.model_copy(update={"model": name, "weight": weight}) for name, weight in (("a", 0.9), ("b", 0.1))]
    routes = [found.routes[0].model_copy(update={"candidates": pair}), found.routes[1]]
    router = Router(found.model_copy(update={"routes": routes}))
    assert router.decide("x", Context(task="a")).model == "a"
    assert router.decide("x", Context(task="a", load={"a": 0.8, "b": 0.2})).model == "b"


zones = st.sampled_from([ANY, "eu", "us"])
levels, names = st.sampled_from(LEVELS), ["a", "b", "c", "generalist"]
parts = st.fixed_dictionaries({"zone": zones, "sensitivity": levels, "to": st.sampled_from([*names, NOBODY])})
lasts = st.fixed_dictionaries({"zone": zones, "accepts": levels})
contexts = st.builds(
    Context, task=st.sampled_from("abc"), zone=zones, sensitivity=levels, down=st.frozensets(st.sampled_from(names))
)


@effort(max_examples=300, deadline=None)
@given(st.lists(parts, min_size=3, max_size=3), lasts, contexts, st.lists(st.sampled_from(CAUSES), max_size=4))
def test_no_decision_lets_a_text_out(manifest: RoutingManifest, made, last, context, causes):
    """Even in a fleet that would never have been published, and through every escalation."""
    named = [{"name": name, **part} for name, part in zip("abc", made, strict=True)]
    found = fleet_of(manifest, *named, fallback=last)
    router = Router(found)
    route = next(r for r in found.routes if r.task == context.task)
    decision = router.decide("x", context)
    for cause in [None, *causes]:
        if cause is not None and decision.model is not None:
            decision = router.escalate("x", decision, cause, context)
        if decision.model is None:
            continue
        assert decision.model not in context.down
        place = last if decision.model == "generalist" else named["abc".index(decision.model)]
        wanted = context.zone if context.zone != ANY else route.zone
        assert wanted in (ANY, place["zone"])
        if decision.model == "generalist":
            level = max(LEVELS.index(context.sensitivity), LEVELS.index(route.sensitivity))
            assert level <= LEVELS.index(last["accepts"])
    assert decision.hops <= route.max_hops + 1


def test_a_manifest_is_verified_before_it_decides(tiny_recipe: Recipe, tmp_path: Path):
    settings = Settings(home=tmp_path / "home")
    fleet, store = Fleet.model_validate(FLEET.model_dump()), Store(tmp_path / "store")
    path = publish([release_made_by_hand(tiny_recipe, store)], fleet, settings, store).path
    assert Router.load(path, keys=trusted(settings)).decide("a review").model == "tiny_reviews"
    path.write_bytes(path.read_bytes().replace(b"tiny-reviews", b"evil-reviews"))
    with pytest.raises(CorruptData, match="was edited"):
        Router.load(path, keys=trusted(settings))


def store_splits(name: str, kinds: list[tuple[str, str]], store: Store) -> str:
    """Splits with 40 train, 10 validation and 20 test rows of each kind (start of text, label); their digest."""

    def make(folder: Path) -> Splits:
        for part, numbers in (("train", range(40)), ("validation", range(40, 50)), ("test", range(50, 70))):
            with TableWriter(folder / f"{part}.parquet", Example) as writer:
                for i, (start, label) in itertools.product(numbers, kinds):
                    text = f"{start} {WORDS[i % 7]} {WORDS[i % 5]} {i}"
                    at = f"{name}{i}"
                    writer.add(Example(id=f"{at}{label}", text=text, label=label, group=at, file="f", line=i))
        return Splits(data_digest="d" * 64, seed=1, labels=[], rows={}, groups={}, license="MIT", attribution="")

    return store.once(Splits, identity("test-splits", 1, name=name, kinds=kinds), make).digest


WORDS = ["please", "today", "again", "for me", "quickly", "when home", "in euros"]


def two_specialists(recipe: Recipe, store: Store, other: list[tuple[str, str]]) -> list[Release]:
    """A bank's specialist, and another one."""
    made = []
    for name, kinds in (("bank", [("pay the bill", "pay"), ("my card was stolen", "card")]), ("second", other)):
        digest = store_splits(name, kinds, store)
        changed = {"name": name, "route": recipe.route.model_copy(update={"task": name, "keywords": []})}
        made.append(release_made_by_hand(recipe.model_copy(update=changed), store, splits_digest=digest))
    return made


def test_a_fleets_router_is_trained_gated_published_and_used(tiny_recipe: Recipe, tmp_path: Path):
    pytest.importorskip("wordllama")
    settings, store = Settings(home=tmp_path / "home"), Store(tmp_path / "store")
    fleet = FLEET.model_copy(update={"router": RouterPolicy(min_accuracy=0.8)})
    made = two_specialists(tiny_recipe, store, [("book a flight to rome", "fly"), ("is my hotel paid", "hotel")])
    published = publish(made, fleet, settings, store)
    told = published.manifest.router
    assert told is not None and told.accuracy.n == 80 and told.accuracy.low >= 0.8
    assert not publish(made, fleet, settings, store).new
    router = Router.load(published.path, keys=trusted(settings))
    assert router.decide("my card was stolen today please 50").model == "bank"
    assert router.decide("book a flight to rome today please 50").model == "second"

    folder = Path(told.uri.removeprefix("file://"))
    (folder / TEXTS).write_text((folder / TEXTS).read_text() + " ")
    with pytest.raises(CorruptData, match="is not the router that"):
        Router.load(published.path)


def test_a_router_that_cannot_tell_is_not_published(tiny_recipe: Recipe, tmp_path: Path):
    pytest.importorskip("wordllama")
    settings, store = Settings(home=tmp_path / "home"), Store(tmp_path / "store")
    fleet = FLEET.model_copy(update={"router": RouterPolicy()})
    made = two_specialists(tiny_recipe, store, [("pay the bill", "bill"), ("my card was stolen", "theft")])
    with pytest.raises(InvalidInput, match=r"of the test rows to their specialist .* asks for 0\.9 at the lower bound"):
        publish(made, fleet, settings, store)
    shutil.rmtree(tmp_path / "store/splits")
    shutil.rmtree(tmp_path / "store/router")
    with pytest.raises(EvidenceMismatch, match="the data of bank, second are not in the store"):
        publish(made, fleet, settings, store)


def test_deciding_needs_no_torch_and_no_server():
    heavy = "{'torch', 'mlflow', 'transformers', 'sklearn', 'dagster'}"
    code = f"import sys, registry.router\nprint({heavy} & sys.modules.keys())"
    result = subprocess.run([sys.executable, "-c", code], cwd=PROJECT, capture_output=True, text=True, check=True)
    assert result.stdout == "set()\n"
