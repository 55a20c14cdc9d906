"""A teacher behind an endpoint: asked once, paid once, and never the reason for a mute failure."""

import dataclasses
import multiprocessing
import sqlite3
import time
from pathlib import Path
from typing import Any

import pytest

from supply_chain.asking import endpoint_answers
from supply_chain.data.curate import curate
from supply_chain.data.examples import read_split
from supply_chain.data.source import locate
from supply_chain.data.split import split
from supply_chain.endpoint import _retry_after
from supply_chain.errors import CorruptData, InvalidInput, InvalidRecipe, Unavailable
from supply_chain.job import Job
from supply_chain.keys import adapter_key
from supply_chain.lineage import origins
from supply_chain.questions import majority, reader
from supply_chain.recipe import Recipe, load_recipe
from supply_chain.recipe.endpoint import Endpoint
from supply_chain.recipe.part import Surroundings
from supply_chain.store import Store
from supply_chain.training import train
from supply_chain.verdicts import Verdict, read_verdicts
from tests.conftest import WORDS, write_tiny_project
from tests.supply_chain.chat_server import KEY, Chat, Refusal, chat_server
from tests.supply_chain.test_methods import job_of
from tests.supply_chain.test_training import tracker

OF = {word: label for label, words in WORDS.items() for word in words}


def right(text: str, _before: int = 0) -> str:
    """The label of a made-up review."""
    return next(OF[word] for word in text.split() if word in OF)


@pytest.fixture(scope="module")
def made_once(tmp_path_factory: pytest.TempPathFactory, tiny_model: Path) -> Job:
    home = tmp_path_factory.mktemp("endpoint")
    recipe = load_recipe(write_tiny_project(home / "project"), Surroundings(home / "project", ("tiny",)))
    source = locate(recipe.data.source, home, home / "project")
    splits = split(curate(recipe.data, source, Store(home / "store")), recipe.data.split, 17, Store(home / "store"))
    return job_of(home, tiny_model, recipe, splits, method="lora", rank=2)


@pytest.fixture
def job(made_once: Job, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Job:
    """Data and base model are shared; each test has its own home, so nothing was asked yet."""
    monkeypatch.setenv("TEACHER_KEY", KEY)
    settings = made_once.settings.model_copy(update={"home": tmp_path / "home"})
    return dataclasses.replace(made_once, settings=settings, store=Store.of(settings))


def asking(job: Job, chat: Chat, sequence: dict[str, Any] | None = None, **values: Any) -> tuple[Job, Endpoint]:
    """The job with a student of this endpoint."""
    block = {
        "url": chat.url, "model": "big", "key_env": "TEACHER_KEY", "license": "proprietary", "zone": "eu",
        "requests_per_minute": 1e6, "backoff_s": 0.001, "usd_per_million_in": 10, "usd_per_million_out": 100, **values,
    }  # fmt: skip
    student = {
        "method": "distill",
        "teacher": {"endpoint": block},
        "objective": {"kind": "sequence", **(sequence or {})},
    }
    recipe = Recipe.model_validate({**job.recipe.model_dump(), "train": {**student, "max_steps": 2, "max_tokens": 64}})
    made = dataclasses.replace(job, recipe=recipe)
    return made, recipe.train.teacher.endpoint  # type: ignore[union-attr, return-value]


def texts(job: Job) -> list[str]:
    return [row.text for row in read_split(job.splits, "train")]


def test_every_row_is_asked_once_paid_once_and_recorded(job: Job) -> None:
    with chat_server(right) as chat:
        made, endpoint = asking(job, chat)
        found = endpoint_answers(made, endpoint)
        assert sorted(chat.asked) == sorted(texts(job))
        (system,) = chat.systems
        assert system == 'Answer with one of these labels and nothing else: ["negative","neutral","positive"]'
        rows = len(chat.asked)
        record = found.record
        assert (record.rows, record.accuracy, record.unreadable, record.uncounted) == (rows, 1.0, 0, 0)
        assert (record.tokens_in, record.tokens_out) == (100 * rows, 10 * rows)
        assert record.usd == pytest.approx(rows * (100 * 10 + 10 * 100) / 1e6)
        assert read_verdicts(found.path)[0] == Verdict(right(texts(job)[0]), 1.0)
        dearer = endpoint.model_copy(update={"usd_per_million_in": 99, "parallel": 1})
        assert endpoint_answers(made, dearer).key == found.key
        more = endpoint.model_copy(update={"samples": 2, "temperature": 0.0})
        assert endpoint_answers(made, more).record.tokens_in == 200 * rows
        assert len(chat.asked) == 2 * rows, "the first sample of each row was there"


def test_a_student_is_trained_on_what_the_endpoint_says(job: Job) -> None:
    with chat_server(lambda text, _: "Positive.") as chat:
        made, _ = asking(job, chat, {"disagreement": "drop"})
        trained = train(made, tracker)
        agreed = [row for row in read_split(job.splits, "train") if row.label == "positive"]
        assert trained.record.examples == len(agreed) < trained.record.steps * 100
        assert trained.record.teacher_usd == pytest.approx(len(set(texts(job))) * 0.002)
        told = [(o.role, o.name, o.license) for o in origins(made)]
        assert told[2:] == [("teacher", "big", "proprietary")]
        slower, _ = asking(job, chat, {"disagreement": "drop"}, requests_per_minute=7, usd_per_million_in=1)
        other, _ = asking(job, chat, {"disagreement": "drop"}, model="bigger")
        assert adapter_key(slower) == adapter_key(made) != adapter_key(other)


@pytest.mark.parametrize(
    ("trouble", "message"),
    [
        (Refusal(503), r"big at http://127.* gave no answer in 3 attempts: HTTP 503 upstream is gone"),
        (Refusal(429, b"slow down"), "HTTP 429 slow down"),
        (Refusal(200, b"<html>welcome</html>"), "no chat completion, but '<html>welcome</html>'"),
        (Refusal(200, b'{"choices": [{"message": {"content": null}}]}'), "a chat completion without text"),
        (Refusal(200, b"[" * 100_000), "no chat completion"),
        (Refusal(200, b"x" * (1 << 21)), "longer than 1 MiB"),
        (Refusal(200, b"{}", pause_s=1.0), "timed out after 0.3 s"),
    ],
)
def test_an_endpoint_that_vanishes_is_named_and_what_it_said_is_kept(job: Job, trouble: Refusal, message: str) -> None:
    gone = {"yes": True}
    first = set(texts(job)[:10])

    def answer(text: str, before: int) -> str | Refusal:
        return trouble if gone["yes"] and text not in first else right(text)

    with chat_server(answer) as chat:
        made, endpoint = asking(job, chat, attempts=3, timeout_s=0.3, parallel=2)
        with pytest.raises(Unavailable, match=message) as raised:
            endpoint_answers(made, endpoint)
        kept = int(str(raised.value).partition(" answers are kept: run the same command again")[0].split()[-3])
        assert kept >= 1
        assert KEY not in str(raised.value)
        gone["yes"] = False
        before = len(chat.asked)
        patient = endpoint.model_copy(update={"timeout_s": 30.0})
        assert endpoint_answers(made, patient).record.accuracy == 1.0
        assert len(chat.asked) - before == len(texts(job)) - kept, "nothing was paid twice"


def test_hiccups_are_outlived(job: Job) -> None:
    def answer(text: str, before: int) -> str | Refusal:
        return Refusal((500, 429, 408)[before]) if before < 3 else right(text)

    with chat_server(answer) as chat:
        made, endpoint = asking(job, chat, attempts=4)
        assert endpoint_answers(made, endpoint).record.accuracy == 1.0
        assert len(chat.asked) == 4 * len(texts(job))


def test_retry_after_and_the_rate_limit_are_waited_for(job: Job) -> None:
    def answer(text: str, before: int) -> str | Refusal:
        held = text == texts(job)[0] and not before
        return Refusal(429, headers={"retry-after": "1"}) if held else right(text)

    with chat_server(answer) as chat:
        made, endpoint = asking(job, chat, requests_per_minute=3000, parallel=3)
        began = time.monotonic()
        assert endpoint_answers(made, endpoint).record.accuracy == 1.0
        assert time.monotonic() - began >= len(texts(job)) * 60 / 3000
        first, second = (at for text, at in zip(chat.asked, chat.moments, strict=True) if text == texts(job)[0])
        assert second - first >= 1
    assert _retry_after("Wed, 21 Oct 2015 07:28:00 GMT") == 0.0
    assert (_retry_after("7"), _retry_after("99999"), _retry_after("soon"), _retry_after(None)) == (7, 600, None, None)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"key_env": "NO_SUCH_KEY"}, "environment variable NO_SUCH_KEY is not set"),
        ({"key_env": "WRONG_KEY"}, r"HTTP 401 no such key: Bearer \*\*\*; set WRONG_KEY to a key that may use big"),
        ({"key_env": None}, "HTTP 401 .*name its key's variable in key_env"),
        ({"max_usd": 0.01}, "max_usd is 0.01: raise it to go on"),
    ],
)
def test_what_its_author_must_mend(
    job: Job, changes: dict[str, Any], message: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("WRONG_KEY", "sk-wrong-999")
    with chat_server(right) as chat:
        made, endpoint = asking(job, chat, parallel=1, **changes)
        with pytest.raises(InvalidInput, match=message) as raised:
            endpoint_answers(made, endpoint)
        assert "sk-wrong" not in str(raised.value)
        assert len(chat.asked) == (5 if "max_usd" in changes else 0), "a refused request is not repeated"


def test_a_teacher_that_answers_something_else_is_stopped_early(job: Job) -> None:
    with chat_server(lambda text, _: "As a language model I cannot") as chat:
        made, endpoint = asking(job, chat, parallel=1)
        for _ in range(2):
            with pytest.raises(InvalidInput, match=r"20 of 20 replies of teacher big are none .* 'As a language model"):
                endpoint_answers(made, endpoint)
        assert len(chat.asked) == 20, "the second run knows it without paying"


def test_the_majority_of_several_samples_counts(job: Job) -> None:
    def answer(text: str, before: int) -> str:
        wrong = "neutral" if right(text) != "neutral" else "positive"
        return (right(text), wrong, right(text))[before]

    with chat_server(answer) as chat:
        made, endpoint = asking(job, chat, samples=3, temperature=0.7, parallel=1)
        found = read_verdicts(endpoint_answers(made, endpoint).path)
        assert found == [Verdict(row.label, pytest.approx(2 / 3)) for row in read_split(job.splits, "train")]
    assert majority(["a", "b", "b", "a"]) == Verdict("a", 0.5)
    assert majority(["", "b", ""]) == Verdict("b", 1 / 3)
    assert majority(["", ""]) == Verdict("", 0.0)


def test_replies_are_read_strictly() -> None:
    label = reader("classification", ["yes", "no way"])
    assert [label(s) for s in ("yes", ' "Yes". ', "**No Way**", "maybe", "yes or no way", "")] == [
        "yes", "yes", "no way", "", "", "",
    ]  # fmt: skip
    assert [reader("classification", ["N.A.", "x"])(s) for s in ("N.A.", "`n.a.`", "X.")] == ["N.A.", "N.A.", "x"]
    assert reader("classification", ["US", "us"])("Us") == "", "labels that differ by case alone are not guessed"
    fields = reader("extraction", ["city", "zip"])
    assert fields('```json\n{"zip": "1", "city": null}\n```') == '{"zip":"1"}'
    assert [fields(s) for s in ('{"town": "x"}', "{}", '{"zip": NaN}', '{"zip": {"a": 1}}', "[" * 9999, "none")] == [
        ""
    ] * 6
    several = reader("multilabel", ["a", "b"])
    assert [several(s) for s in ('["b", "a", "b"]', "[]", '["c"]', "[[1]]")] == ['["a","b"]', "", "", ""]


def test_kill_9_while_asking_pays_for_no_answer_twice(job: Job, tmp_path: Path) -> None:
    def answer(text: str, _before: int) -> str:
        time.sleep(0.05)
        return right(text)

    with chat_server(answer) as chat:
        made, endpoint = asking(job, chat, parallel=2)
        process = multiprocessing.get_context("spawn").Process(target=endpoint_answers, args=(made, endpoint))
        process.start()
        while len(chat.asked) < 20:
            assert process.is_alive()
            time.sleep(0.005)
        process.kill()
        process.join()
        (file,) = (made.settings.home / "teachers").glob("*.sqlite")
        kept = sqlite3.connect(file).execute("SELECT count(*) FROM replies").fetchone()[0]
        assert kept >= 20 - 2 - 2
        before = len(chat.asked)
        assert endpoint_answers(made, endpoint).record.accuracy == 1.0
        assert len(chat.asked) - before == len(texts(job)) - kept


def test_a_torn_file_of_answers_is_no_traceback(job: Job) -> None:
    with chat_server(right) as chat:
        made, endpoint = asking(job, chat)
        endpoint_answers(made, endpoint)
        (file,) = (made.settings.home / "teachers").glob("*.sqlite")
        file.write_bytes(b"SQLite format 3\x00" + b"\x13" * 4000)
        with pytest.raises(CorruptData, match=r"cannot be read: .*Restore it, or move it away"):
            endpoint_answers(made, endpoint.model_copy(update={"samples": 2}))


def test_data_of_a_zone_is_not_sent_out_of_it_even_by_a_hand_made_job(job: Job) -> None:
    with chat_server(right) as chat:
        made, endpoint = asking(job, chat)
        record = job.splits.record.model_copy(update={"zone": "ch", "sensitivity": "restricted"})
        made = dataclasses.replace(made, splits=dataclasses.replace(job.splits, record=record))
        with pytest.raises(InvalidInput, match=r"sensitivity is restricted, .*leave zone ch for eu"):
            endpoint_answers(made, endpoint)
        assert chat.asked == []


ENDPOINT = "url: 'https://x.org/v1', model: m, license: MIT, zone: eu"
SEQUENCE = "objective: {kind: sequence}"


def taught_by(tmp_path: Path, endpoint: str, rest: str, *edits: tuple[str, str]) -> Recipe:
    path = write_tiny_project(tmp_path)
    line = next(line for line in path.read_text().splitlines() if line.startswith("train:"))
    edits = ((line, f"train: {{method: distill, teacher: {{endpoint: {{{endpoint}}}}}, {rest}}}"), *edits)
    text = path.read_text()
    for old, new in edits:
        assert old in text
        text = text.replace(old, new)
    path.write_text(text)
    return load_recipe(path, Surroundings(tmp_path, ("tiny",), path.parent))


@pytest.mark.parametrize(
    ("endpoint", "rest", "message"),
    [
        (ENDPOINT, "epochs: 2", "an endpoint gives answers, no distributions: set objective: {kind: sequence}"),
        (ENDPOINT, f"{SEQUENCE}, student: {{layers: 1}}", "no layers can be cut from a model behind an endpoint"),
        (ENDPOINT, "objective: {kind: sequence, confidence: 0.5}", "needs several answers a row: set .*samples"),
        (f"{ENDPOINT}, accepts: public", SEQUENCE, "sensitivity is internal, this endpoint may see public text"),
        (ENDPOINT.replace("https", "http") + ", key_env: A_KEY", SEQUENCE, "a key must not travel over http"),
        (ENDPOINT.replace("x.org", "me:pw@x.org"), SEQUENCE, "keys belong into the environment variable"),
        (ENDPOINT.replace("https:", "file:"), SEQUENCE, "must be an http or https address"),
        (f"{ENDPOINT}, samples: 3", SEQUENCE, "samples is 3, which are all alike at temperature 0"),
        (f"{ENDPOINT}, max_usd: 3", SEQUENCE, "max_usd needs usd_per_million_in"),
        (f"{ENDPOINT}, modle: m", SEQUENCE, "did you mean model"),
        (ENDPOINT.replace(", zone: eu", ""), SEQUENCE, "teacher.endpoint.zone: is required"),
    ],
)
def test_faults_of_an_endpoint_are_named_before_anything_is_sent(
    tmp_path: Path, endpoint: str, rest: str, message: str
) -> None:
    with pytest.raises(InvalidRecipe, match=message):
        taught_by(tmp_path, endpoint, rest)


def test_data_that_may_not_leave_its_zone_is_a_fault_of_the_recipe(tmp_path: Path) -> None:
    secret = ("license: CC0", "zone: ch\n  sensitivity: confidential\n  license: CC0")
    with pytest.raises(InvalidRecipe, match="confidential, this endpoint may see internal") as raised:
        taught_by(tmp_path / "a", ENDPOINT, SEQUENCE, secret)
    assert "the data would leave zone ch for eu: take an endpoint in ch" in str(raised.value)
    near = ENDPOINT.replace("zone: eu", "zone: ch, accepts: restricted")
    assert taught_by(tmp_path / "b", near, SEQUENCE, secret).train.method == "distill"
