"""Kills promote, rollback and publish at random moments; then 20 promote at once. `python -m benchmarks.kill_publish`.

After every kill: the log holds everything that it held before, the manifest in force is one whole
generation that the log names and holds exactly the champions of its place in the log; the next
command finishes what was left, and then log, manifest and MLflow's aliases agree.
"""

import argparse
import importlib
import json
import os
import random
import signal
import tempfile
import time
from collections import Counter
from collections.abc import Callable
from functools import partial
from pathlib import Path

from pydantic import BaseModel

from benchmarks.measure import report
from registry.decisions import Act, Log, Moved, Published, standings
from registry.generations import CURRENT, folder, load_manifest
from registry.past import verify_all
from registry.release import Release, releases
from supply_chain.errors import SupplyChainError
from supply_chain.identity import file_sha256
from supply_chain.recipe import Recipe, load_recipe
from supply_chain.recipe.part import Surroundings
from supply_chain.settings import Settings
from supply_chain.store import Store
from tests.conftest import write_tiny_project
from tests.registry.chain import Chain
from tests.registry.evidence import store_artifact
from tests.registry.killing import Killer

ME = Act("benchmark", "at random")
CROWD = 20
WRITES = 60


class Tally(BaseModel):
    """What came of the runs so far."""

    whole_s: float
    """How long one promotion takes when it is not killed."""
    runs: int = 0
    outcomes: Counter[str] = Counter()
    faults: Counter[str] = Counter()


def child(work: Callable[[], object], kill_after_s: float | None = None) -> str:
    """Runs `work` in a fork; returns `killed`, `done`, or the error."""
    read, write = os.pipe()
    pid = os.fork()
    if pid == 0:
        os.close(read)
        try:
            work()
            os._exit(0)
        except BaseException as error:  # noqa: BLE001 (the parent reports it)
            os.write(write, f"{type(error).__name__}: {error}"[:2000].encode())
            os._exit(1)
    os.close(write)
    if kill_after_s is not None:
        time.sleep(kill_after_s)
        os.kill(pid, signal.SIGKILL)
    with os.fdopen(read, "rb") as pipe:
        said = pipe.read().decode()
    _, status = os.waitpid(pid, 0)
    return "killed" if os.WIFSIGNALED(status) else said or "done"


def _killed_at(write: int, move: Callable[[], object]) -> None:
    Killer(write)
    move()


def recipe_of(base: Recipe, name: str) -> Recipe:
    return base.model_copy(update={"name": name, "route": base.route.model_copy(update={"task": name})})


def prepare(base: Recipe, settings: Settings, models: int) -> None:
    """Every model has a first version; model m0 to m2 have three that were compared with it."""
    store = Store.of(settings)
    for index in range(models):
        chain = Chain(recipe_of(base, f"m{index}"), settings, store)
        chain.release("a", champion=None)
        first = store_artifact(chain.recipe, store, salt="a").digest
        for salt in "bcd" if index < 3 else "":
            chain.release(salt, champion=first)


def at_random(chain: Chain, versions: dict[str, list[Release]], rng: random.Random) -> Callable[[], object]:
    """A move that is allowed as the log stands, or a publication."""
    name = f"m{rng.randrange(3)}"
    standing = standings(Log(chain.settings.home).entries()).get(name)
    if rng.random() < 0.15:
        return chain.desk.publish
    if standing is None or standing.champion is None:
        return lambda: chain.desk.promote(versions[name][0], ME)
    if standing.champion == 1:
        other = versions[name][rng.randrange(1, 4)]
        return lambda: chain.desk.promote(other, ME)
    return lambda: chain.desk.rollback(name, ME)


def faults(settings: Settings, before: list[str]) -> list[str]:
    """What is wrong right after a kill, before anything is repaired."""
    log = Log(settings.home).entries()
    found = [] if [logged.sha256 for logged in log][: len(before)] == before else ["lost history"]
    current = folder(settings) / CURRENT
    if not current.exists():
        return found
    manifest, digest = load_manifest(current), file_sha256(current)
    if digest not in {e.entry.what.sha256 for e in log if isinstance(e.entry.what, Published)}:
        found.append("a manifest that the log does not name")
    then = standings(log[: manifest.decisions.entries])
    champions = {name: s.champion for name, s in then.items() if s.champion is not None}
    if champions != {model.name: model.mlflow.version for model in manifest.models}:
        found.append("mixed generation")
    return found


def kills(chain: Chain, tally: Tally, runs: int) -> None:
    """Kills `runs` commands, one after the other."""
    settings, rng = chain.settings, random.Random(tally.runs)
    versions: dict[str, list[Release]] = {}
    for release in sorted(listed(settings), key=lambda r: r.version):
        versions.setdefault(release.name, []).append(release)

    def repair() -> None:
        chain.desk.publish()
        verify_all(settings, chain.store)

    for number in range(runs):
        before = [logged.sha256 for logged in Log(settings.home).entries()]
        move = at_random(chain, versions, rng)
        if number % 2:  # at a random moment, or at a random write to disk or database
            outcome = child(move, rng.uniform(0, tally.whole_s))
        else:
            outcome = child(partial(_killed_at, rng.randrange(1, WRITES), move))
        logged = len(Log(settings.home).entries()) > len(before)
        tally.outcomes[
            f"{outcome if outcome in {'killed', 'done'} else 'error'}, {'' if logged else 'not '}logged"
        ] += 1
        tally.faults.update(faults(settings, before))
        repaired = child(repair)
        tally.faults.update([] if repaired == "done" else [f"not repaired: {repaired[:300]}"])
        tally.runs += 1
        print(f"\r{tally.runs} {dict(tally.outcomes)} {dict(tally.faults)}", end="", flush=True)


def listed(settings: Settings) -> list[Release]:
    """Every version; MLflow is asked in a fork, since a fork must not inherit its connections."""
    listing = settings.home / "versions.json"
    child(lambda: listing.write_text(json.dumps([r.model_dump(mode="json") for r in releases(settings)])))
    return [Release.model_validate(r) for r in json.loads(listing.read_text())]


def crowd(chain: Chain, base: Recipe) -> dict[str, object]:
    """20 processes promote 20 models at once."""
    settings = chain.settings
    firsts = [r for r in listed(settings) if r.version == 1 and int(r.name[1:]) >= 3][:CROWD]
    pids = [_start(lambda r=r: chain.desk.promote(r, ME)) for r in firsts]
    codes = [os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) for pid in pids]
    log = Log(settings.home).entries()
    names, moves = {r.name for r in firsts}, [e.entry.what for e in log if isinstance(e.entry.what, Moved)]
    promoted = [move.model for move in moves if move.model in names]
    assert child(lambda: verify_all(settings, chain.store)) == "done"
    in_one_order = len(promoted) == CROWD and set(promoted) == names
    return {"promoters": len(pids), "failed": sum(map(bool, codes)), "in_one_order": in_one_order}


def _start(work: Callable[[], object]) -> int:
    pid = os.fork()
    if pid == 0:
        try:
            work()
            os._exit(0)
        except SupplyChainError:
            os._exit(1)
    return pid


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--runs", type=int, default=200, help="in all")
    parser.add_argument("--at-once", type=int, default=200, help="in this call; a next call with --home goes on")
    parser.add_argument("--home", type=Path, help="a folder to keep between calls")
    args = parser.parse_args()
    for module in ("mlflow", "mlflow.store.tracking.sqlalchemy_store", "mlflow.store.model_registry.sqlalchemy_store"):
        importlib.import_module(module)  # once: a fork should not spend its life importing
    with tempfile.TemporaryDirectory() as name:
        run(args.home or Path(name), args.runs, args.at_once)


def run(root: Path, runs: int, at_once: int) -> None:
    """Prepares what is not there yet, kills, and reports once all runs are done."""
    settings, state = Settings(home=root / "home"), root / "tally.json"
    if not state.exists():
        write_tiny_project(root / "project")
    recipe = root / "project/recipes/tiny_reviews.yaml"
    base = load_recipe(recipe, Surroundings(root=root / "project", bases=("tiny",)))
    chain = Chain(recipe_of(base, "m0"), settings, Store.of(settings))
    if not state.exists():
        assert child(lambda: prepare(base, settings, 3 + CROWD)) == "done"
        first = next(r for r in listed(settings) if (r.name, r.version) == ("m0", 1))
        started = time.monotonic()
        assert child(lambda: chain.desk.promote(first, ME)) == "done"
        state.write_text(Tally(whole_s=time.monotonic() - started).model_dump_json())
    tally = Tally.model_validate_json(state.read_bytes())
    kills(chain, tally, min(at_once, runs - tally.runs))
    state.write_text(tally.model_dump_json())
    print()
    if tally.runs >= runs:
        moves = Counter(e.entry.what.action for e in Log(settings.home).entries())
        report("kill_publish", **tally.model_dump(), entries=dict(moves), concurrent=crowd(chain, base))


if __name__ == "__main__":
    main()
