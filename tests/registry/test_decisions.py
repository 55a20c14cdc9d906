"""The log counts, chains and shows every edit; standings follow from it alone."""

import json
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from registry.decisions import Act, Log, Moved, Published, standings
from supply_chain.errors import CorruptData

ME = Act("ada", "better")


def moved(action: str, version: int, replaced: int | None = None, model: str = "m") -> Moved:
    return Moved(action=action, model=model, version=version, replaced=replaced)


@pytest.fixture
def log(tmp_path: Path) -> Log:
    """Four entries."""
    log = Log(tmp_path)
    for what in (
        moved("promote", 1),
        Published(generation=1, sha256="a" * 64),
        moved("promote", 2, 1),
        moved("promote", 3, 2),
    ):
        log.append(what, ME)
    return log


def test_entries_are_numbered_timed_and_chained(log: Log):
    entries = log.entries()
    assert [e.entry.entry for e in entries] == [1, 2, 3, 4]
    assert [e.entry.previous for e in entries] == [None, *(e.sha256 for e in entries[:-1])]
    assert [e.entry.time for e in entries] == sorted(e.entry.time for e in entries)
    assert {e.entry.who for e in entries} == {"ada"} and entries[0].entry.why == "better"
    assert log.head.read_text() == f"4 {entries[-1].sha256}\n"


@pytest.mark.parametrize("number", [1, 2, 3, 4])
def test_an_edited_entry_shows(log: Log, number: int):
    lines = log.path.read_text().splitlines()
    lines[number - 1] = json.dumps(
        {**json.loads(lines[number - 1]), "who": "eve"}, sort_keys=True, separators=(",", ":")
    )
    log.path.write_text("\n".join(lines) + "\n")
    with pytest.raises(CorruptData, match=r"[Rr]estore"):
        log.entries()


def test_any_byte_changed_shows(log: Log):
    data = log.path.read_bytes()
    for at in range(len(data)):
        log.path.write_bytes(data[:at] + bytes([data[at] ^ 1]) + data[at + 1 :])
        with pytest.raises(CorruptData):
            log.entries()


@pytest.mark.parametrize("kept", [0, 1, 2, 3])
def test_a_cut_log_shows(log: Log, kept: int):
    log.path.write_text("".join(line + "\n" for line in log.path.read_text().splitlines()[:kept]))
    with pytest.raises(CorruptData, match=r"its head says entry 4"):
        log.entries()


def test_a_removed_or_swapped_line_shows(log: Log):
    first, second, third, fourth = log.path.read_text().splitlines(keepends=True)
    for lines in ([first, third, fourth], [first, third, second, fourth], [second, third, fourth]):
        log.path.write_text("".join(lines))
        with pytest.raises(CorruptData, match="does not follow the line before it"):
            log.entries()


def test_a_torn_line_never_counted(log: Log):
    whole = log.path.read_bytes()
    log.path.write_bytes(whole + b'{"action":"promote","mod')
    assert len(log.entries()) == 4
    log.append(moved("retire", 2), ME)
    assert log.path.read_bytes().startswith(whole) and len(log.entries()) == 5


def test_a_process_killed_between_line_and_head_loses_nothing(log: Log):
    head = log.head.read_text()
    log.append(moved("retire", 2), ME)
    log.head.write_text(head)
    assert len(log.entries()) == 5
    log.append(moved("retire", 1), ME)
    assert log.head.read_text().startswith("6 ")


def test_a_clock_that_runs_backwards_does_not_reorder(log: Log, monkeypatch: pytest.MonkeyPatch):
    from datetime import UTC, datetime

    class Past(datetime):
        @classmethod
        def now(cls, tz=None):
            return datetime(2001, 1, 1, tzinfo=UTC)

    monkeypatch.setattr("registry.decisions.datetime", Past)
    assert log.append(moved("retire", 2), ME).entry.time == log.entries()[3].entry.time


def test_rollbacks_go_further_back_and_never_to_what_was_left(log: Log):
    now = standings(log.entries())["m"]
    assert (now.champion, now.line, now.previous) == (3, (1, 2), 2)
    once = now.after(moved("rollback", 2, 3))
    assert (once.champion, once.line, once.withdrawn) == (2, (1,), {3})
    twice = once.after(moved("rollback", 1, 2))
    assert (twice.champion, twice.line, twice.withdrawn) == (1, (), {2, 3})
    far = now.after(moved("rollback", 1, 3))
    assert (far.champion, far.line, far.withdrawn) == (1, (), {2, 3})
    assert once.after(moved("promote", 3, 2)).withdrawn == set()


def test_retiring(log: Log):
    now = standings(log.entries())["m"]
    assert (now.after(moved("retire", 2)).champion, now.after(moved("retire", 2)).line) == (3, (1,))
    gone = now.after(moved("retire", 3))
    assert (gone.champion, gone.previous, gone.retired) == (None, 2, {3})
    assert gone.after(moved("rollback", 2)).champion == 2


@settings(max_examples=60, deadline=None)
@given(st.lists(st.tuples(st.sampled_from(["promote", "rollback", "retire"]), st.integers(1, 5)), max_size=12))
def test_a_version_has_one_part_at_a_time(moves):
    from registry.decisions import Standing

    now = Standing()
    for action, version in moves:
        allowed = {
            "promote": version not in now.retired,
            "rollback": version in now.line,
            "retire": version not in now.retired,
        }
        if allowed[action]:
            now = now.after(moved(action, version))
        assert len(set(now.line)) == len(now.line) and now.champion not in now.line
        assert not now.retired & {now.champion, *now.line}
        assert not now.withdrawn & {now.champion, *now.line}
