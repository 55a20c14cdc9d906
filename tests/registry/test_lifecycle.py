"""Champions come and go in one order; log, manifest and aliases tell one story."""

import json
import os
import shutil
from concurrent.futures import ThreadPoolExecutor, wait
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from registry.decisions import FILE, HEAD, RELEASES, Act, Log, Moved, Published
from registry.generations import CURRENT, folder, history
from registry.past import live_at, live_rows, log_rows, verified_log, verify_all
from registry.release import Release, releases
from supply_chain.errors import CorruptData, EvidenceMismatch, InvalidInput, Unavailable
from supply_chain.recipe import load_recipe
from supply_chain.recipe.part import Surroundings
from supply_chain.settings import Settings
from supply_chain.store import Store
from tests.conftest import write_tiny_project
from tests.registry.chain import Chain
from tests.registry.evidence import estimate, store_artifact

ME = Act("ada", "seen by ada")
LOSES = {"differences": {"tfidf": estimate(0.0, -0.1, 0.1)}}


@pytest.fixture(scope="module")
def two_home(tmp_path_factory: pytest.TempPathFactory, empty_mlflow: Path) -> Path:
    """A home with two champions, one after the other."""
    home = tmp_path_factory.mktemp("two") / "home"
    home.mkdir()
    shutil.copyfile(empty_mlflow, home / "mlflow.db")
    made = Settings(home=home)
    root = home.parent / "project"
    recipe = load_recipe(write_tiny_project(root), Surroundings(root=root, bases=("tiny",)))
    chain = Chain(recipe, made, Store.of(made))
    for salt in ("", "b"):
        chain.promote(chain.release(salt))
    return home


@pytest.fixture
def two(chain: Chain, two_home: Path) -> list[Release]:
    """The chain's home holds both; oldest first."""
    shutil.copytree(two_home, chain.settings.home, dirs_exist_ok=True)
    return releases(chain.settings)[::-1]


def served(chain: Chain) -> dict[str, int]:
    manifest = json.loads((folder(chain.settings) / CURRENT).read_text())
    return {model["name"]: model["mlflow"]["version"] for model in manifest["models"]}


def test_promotion_is_logged_published_and_shown(chain: Chain):
    release = chain.desk.promote(chain.release(), ME)
    moved, published = (logged.entry for logged in Log(chain.settings.home).entries())
    assert isinstance(moved.what, Moved) and moved.what.claims == release.claims()
    assert (moved.who, moved.why, moved.what.version) == ("ada", "seen by ada", 1)
    (generation,) = history(chain.settings)
    assert isinstance(published.what, Published) and published.what.sha256 == generation.sha256
    assert generation.manifest.decisions.entries == 1 and generation.manifest.decisions.head == published.previous
    assert served(chain) == {"tiny_reviews": 1}
    shown = json.loads(release.tags["logged"])
    assert (shown["entry"], shown["who"], shown["action"]) == (1, "ada", "promote")
    chain.desk.promote(release, ME)
    assert len(Log(chain.settings.home).entries()) == 2  # nothing new, nothing logged


def test_rollback_returns_and_is_not_undone_by_a_program(chain: Chain, two):
    done = chain.desk.rollback("tiny_reviews", ME)
    assert (done.version, done.replaced) == (1, 2)
    assert served(chain) == {"tiny_reviews": 1} and chain.aliases() == {"champion": 1}
    assert chain.desk.waits(two[1]) == (
        "tiny_reviews version 2 was rolled back from: supply-chain promote tiny_reviews --version 2"
    )
    with pytest.raises(InvalidInput, match="cannot go back to the version before: its former champions are none"):
        chain.desk.rollback("tiny_reviews", ME)
    chain.desk.promote(two[1], ME)
    assert chain.desk.waits(two[1]) is None and chain.aliases() == {"champion": 2, "previous": 1}


def test_a_damaged_former_champion_is_not_returned_to(chain: Chain, two):
    weights = store_artifact(chain.recipe, chain.store).path / "model.safetensors"
    weights.write_bytes(b"x" + weights.read_bytes()[1:])
    before = len(Log(chain.settings.home).entries())
    with pytest.raises(CorruptData, match="tiny_reviews version 1"):
        chain.desk.rollback("tiny_reviews", ME)
    assert len(Log(chain.settings.home).entries()) == before and served(chain) == {"tiny_reviews": 2}


def test_a_retired_champion_leaves_the_fleet_for_good(chain: Chain, two):
    assert chain.desk.retire("tiny_reviews", ME).version == 2
    assert served(chain) == {} and chain.aliases() == {"previous": 1}
    with pytest.raises(InvalidInput, match="version 2 is retired"):
        chain.promote(two[1])
    assert "is retired" in chain.desk.waits(two[1])
    with pytest.raises(InvalidInput, match="has no champion: name the version"):
        chain.desk.retire("tiny_reviews", ME)
    with pytest.raises(InvalidInput, match="version 2 is retired already"):
        chain.desk.retire("tiny_reviews", ME, 2)
    chain.desk.rollback("tiny_reviews", ME)
    assert served(chain) == {"tiny_reviews": 1}


def test_what_was_live_at_a_time(chain: Chain, two):
    chain.desk.retire("tiny_reviews", ME)
    entries = [logged.entry for logged in Log(chain.settings.home).entries()]
    times = [entry.time for entry in entries if isinstance(entry.what, Published)]
    versions = []
    for moment in (*times, datetime.now(UTC)):
        rows = live_rows(live_at(moment, chain.settings), chain.settings)
        versions.append([(row["version"], row["who"]) for row in rows])
    who = entries[0].who
    assert versions == [[(1, who)], [(2, who)], [], []]
    assert live_at(times[0] - timedelta(microseconds=1), chain.settings) is None
    assert [row["what"] for row in log_rows(verified_log(chain.settings), "tiny_reviews")] == [
        "promoted tiny_reviews version 1",
        "promoted tiny_reviews version 2 in place of version 1",
        "retired tiny_reviews version 2",
    ]


def test_a_fleet_that_would_not_fit_is_not_changed(chain: Chain, two):
    route = chain.recipe.route.model_copy(update={"fallback": "nobody"})
    lost = chain.release("c", recipe=chain.recipe.model_copy(update={"route": route}))
    before = len(Log(chain.settings.home).entries())
    with pytest.raises(InvalidInput, match="falls back to 'nobody'"):
        chain.promote(lost)
    assert len(Log(chain.settings.home).entries()) == before
    assert served(chain) == {"tiny_reviews": 2} and chain.aliases()["champion"] == 2


def test_an_alias_moved_by_hand_changes_nothing_and_shows(chain: Chain, two):
    chain.client.set_registered_model_alias("tiny_reviews", "champion", "1")
    chain.desk.publish()
    assert served(chain) == {"tiny_reviews": 2}
    with pytest.raises(EvidenceMismatch, match="MLflow shows version 1 as champion, the log says 2"):
        verify_all(chain.settings, chain.store)


def test_a_rewritten_log_shows_in_the_manifests(chain: Chain, two):
    home = chain.settings.home
    entries = Log(home).entries()
    (home / FILE).unlink()
    (home / HEAD).unlink()
    for logged in entries:
        Log(home).append(logged.entry.what, Act("eve", "it was always so"))
    with pytest.raises(CorruptData, match="generation 1 was made after entry 1"):
        verified_log(chain.settings)
    (home / FILE).unlink()
    (home / HEAD).unlink()
    with pytest.raises(CorruptData, match="is not one of the last two generations that the decision log published"):
        chain.desk.publish()


def test_without_mlflow_the_log_is_kept_and_aliases_follow(chain: Chain, two, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
    away = Settings(home=chain.settings.home, mlflow_uri="http://127.0.0.1:9")
    desk = type(chain.desk)(chain.desk.fleet, away, chain.store)
    with pytest.raises(Unavailable, match=r"generation 3 is in force and logged; MLflow's aliases will follow"):
        desk.rollback("tiny_reviews", ME)
    assert served(chain) == {"tiny_reviews": 1} and chain.aliases()["champion"] == 2
    chain.desk.publish()
    assert chain.aliases() == {"champion": 1}
    with pytest.raises(Unavailable, match="run the same command again"):
        desk.promote(two[1], ME)
    assert served(chain) == {"tiny_reviews": 1}


def test_concurrent_promoters_stand_in_one_order(chain: Chain):
    others = [
        Chain(
            chain.recipe.model_copy(
                update={"name": f"m{i}", "route": chain.recipe.route.model_copy(update={"task": f"m{i}"})}
            ),
            chain.settings,
            chain.store,
        )
        for i in range(4)
    ]
    releases = [(other, other.release()) for other in others]
    with ThreadPoolExecutor(4) as pool:
        list(pool.map(lambda pair: pair[0].promote(pair[1]), releases))
    log = verified_log(chain.settings)
    assert sorted(e.entry.what.model for e in log if isinstance(e.entry.what, Moved)) == ["m0", "m1", "m2", "m3"]
    assert served(chain) == {f"m{i}": 1 for i in range(4)}
    assert verify_all(chain.settings, chain.store) == (4, 8, 4)


def test_of_two_decisions_at_once_one_wins_and_the_other_says_so(chain: Chain):
    """Both commands start while version 3 serves; without a word, the second would roll back to version 1."""
    for salt in ("", "b", "c"):
        chain.promote(chain.release(salt))
    said = []

    def rollback(who: str) -> None:
        try:
            chain.desk.rollback("tiny_reviews", Act(who, "worse"))
        except InvalidInput as error:
            said.append((who, str(error)))

    with ThreadPoolExecutor(2) as pool:
        with chain.store.locked(RELEASES):  # held until both have looked
            both = [pool.submit(rollback, who) for who in ("ada", "bob")]
            wait(both, timeout=3)
        wait(both)
    (told,) = said
    winner = {"ada": "bob", "bob": "ada"}[told[0]]
    assert f"tiny_reviews was changed meanwhile: {winner} did rollback version 2 (entry 7: worse)" in told[1]
    assert served(chain) == {"tiny_reviews": 2}


def test_bytes_are_read_once_until_touched(chain: Chain, two, monkeypatch: pytest.MonkeyPatch):
    artifact = store_artifact(chain.recipe, chain.store, salt="b")
    monkeypatch.setattr("registry.seen._SETTLED_NS", -(10**12))  # as if every file had been written long ago
    chain.desk.publish()
    reads = []
    monkeypatch.setattr("registry.verification.reread", lambda *a: reads.append(a) or pytest.fail("read again"))
    chain.desk.publish()
    monkeypatch.undo()

    weights = artifact.path / "model.safetensors"
    before = weights.stat()
    weights.write_bytes(weights.read_bytes()[:-1] + b"x")  # same size, and the old modification time
    os.utime(weights, ns=(before.st_atime_ns, before.st_mtime_ns))
    with pytest.raises(EvidenceMismatch, match=r"model\.safetensors differ"):
        chain.desk.publish()
