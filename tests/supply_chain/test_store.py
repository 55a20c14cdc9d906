"""An object is whole or absent, made once, and damage shows."""

import multiprocessing
import os
import signal
import time
from pathlib import Path
from typing import ClassVar

import pytest

from supply_chain.errors import CorruptData, Unavailable
from supply_chain.store import Record, Store


class Note(Record):
    kind: ClassVar[str] = "note"
    text: str


def write(folder: Path) -> Note:
    (folder / "deep").mkdir()
    (folder / "deep/a.txt").write_text("alpha")
    (folder / "b.txt").write_text("beta")
    return Note(text="hello")


def test_made_once_and_found_again(store: Store) -> None:
    first = store.once(Note, "k1", write)
    again = store.once(Note, "k1", lambda folder: pytest.fail("made twice"))
    assert again == first
    assert again.record.text == "hello"
    assert set(again.files) == {"deep/a.txt", "b.txt"}
    assert again.size_bytes == 9
    assert store.find(Note, "other") is None


def test_equal_files_give_equal_digests_whatever_the_record_says(store: Store) -> None:
    one = store.once(Note, "k1", write)
    other = store.once(Note, "k2", lambda folder: write(folder).model_copy(update={"text": "measured otherwise"}))
    assert one.digest == other.digest


def test_a_failed_make_leaves_nothing(store: Store) -> None:
    def fail(folder: Path) -> Note:
        write(folder)
        raise ValueError("half way")

    with pytest.raises(ValueError, match="half way"):
        store.once(Note, "k1", fail)
    assert store.find(Note, "k1") is None
    assert list((store.root / "tmp").iterdir()) == []


@pytest.mark.parametrize("damage", [lambda p: p.write_text("bEta"), lambda p: p.unlink(), lambda p: p.write_text("")])
def test_damage_is_found_and_set_aside(store: Store, damage) -> None:  # type: ignore[no-untyped-def]
    stored = store.once(Note, "k1", write)
    damage(stored.path / "b.txt")
    with pytest.raises(CorruptData, match=r"b\.txt differ"):
        stored.verify()
    assert store.find(Note, "k1") is None
    assert store.once(Note, "k1", write).verify().digest == stored.digest


def test_an_unreadable_entry_says_what_to_remove(store: Store) -> None:
    stored = store.once(Note, "k1", write)
    (stored.path / "entry.json").write_text("{")
    with pytest.raises(CorruptData, match="remove"):
        store.find(Note, "k1")


def _slow(root: Path, started: Path) -> None:
    def make(folder: Path) -> Note:
        write(folder)
        started.touch()
        time.sleep(60)
        return Note(text="never")

    Store(root).once(Note, "k1", make)


def test_kill_9_while_making_leaves_nothing_and_frees_the_lock(store: Store, tmp_path: Path) -> None:
    started = tmp_path / "started"
    process = multiprocessing.get_context("fork").Process(target=_slow, args=(store.root, started))
    process.start()
    while not started.exists():
        time.sleep(0.01)
    assert process.pid
    os.kill(process.pid, signal.SIGKILL)
    process.join()
    assert store.find(Note, "k1") is None
    assert store.once(Note, "k1", write).record.text == "hello"
    assert list((store.root / "tmp").iterdir()) == []


def _count(root: Path, log: Path) -> None:
    def make(folder: Path) -> Note:
        with log.open("a") as file:
            file.write("made\n")
        time.sleep(0.2)
        return write(folder)

    Store(root).once(Note, "k1", make)


def test_two_processes_make_it_once(store: Store, tmp_path: Path) -> None:
    fork = multiprocessing.get_context("fork")
    processes = [fork.Process(target=_count, args=(store.root, tmp_path / "log")) for _ in range(4)]
    for process in processes:
        process.start()
    for process in processes:
        process.join()
    assert (tmp_path / "log").read_text() == "made\n"


def test_objects_travel_through_a_shared_store(tmp_path: Path) -> None:
    remote = f"file://{tmp_path}/shared"
    here, there = Store(tmp_path / "here", remote), Store(tmp_path / "there", remote)
    made = here.once(Note, "k1", write)
    fetched = there.find(Note, "k1")
    assert fetched is not None
    assert fetched.verify().digest == made.digest
    assert fetched.path.is_relative_to(tmp_path / "there")


def test_a_half_uploaded_object_is_no_object(tmp_path: Path) -> None:
    remote = tmp_path / "shared"
    Store(tmp_path / "here", f"file://{remote}").once(Note, "k1", write)
    (remote / "note/k1/entry.json").unlink()
    assert Store(tmp_path / "there", f"file://{remote}").find(Note, "k1") is None


def test_a_shared_store_that_cannot_be_reached_is_named(tmp_path: Path) -> None:
    with pytest.raises(Unavailable, match="nosuch://bucket"):
        Store(tmp_path, "nosuch://bucket").find(Note, "k1")
