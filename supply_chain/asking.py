"""Asks a teacher behind an endpoint about every train row: each answer is paid once, whatever is killed."""

import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor, wait
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

from tqdm import tqdm

from supply_chain.data.examples import read_split
from supply_chain.endpoint import ChatClient, Reply
from supply_chain.errors import InvalidInput, SupplyChainError
from supply_chain.identity import identity
from supply_chain.job import Job
from supply_chain.questions import Messages, majority, messages_of, reader
from supply_chain.recipe.endpoint import TEACHER, Endpoint, Place, closed_to
from supply_chain.replies import Replies, Spent, question_of
from supply_chain.settings import Settings
from supply_chain.store import Record, Store, Stored
from supply_chain.verdicts import write_verdicts

VERSION = 1
_ENOUGH = 20
"""Replies after which a teacher that mostly gives none of the answers asked for is stopped."""


class EndpointAnswers(Record):
    """`answers.jsonl`: what the teacher says about every train row, and how sure it is of it."""

    kind: ClassVar[str] = "endpoint_answers"
    model: str
    url: str
    splits_digest: str
    rows: int
    samples: int
    unreadable: int
    """Rows without an answer of the form asked for."""
    accuracy: float
    """Share of the rows whose own answer is the teacher's."""
    tokens_in: int
    tokens_out: int
    uncounted: int
    """Replies that came without a count of their tokens: `usd` does not hold them."""
    usd: float
    """At the recipe's prices."""


def endpoint_answers(job: Job, endpoint: Endpoint) -> Stored[EndpointAnswers]:
    """Asks about every train row that was not asked about before; with several samples the majority counts.

    Raises InvalidInput for data that must not be sent there, a key that is not set or refused, a teacher
    whose replies are no answers, and when `max_usd` is reached; Unavailable when the endpoint is gone. What
    it said until then is kept in `home/teachers`.
    """
    splits = job.splits.verify()
    faults = closed_to(endpoint, splits.record.sensitivity, splits.record.zone)
    if faults:
        raise InvalidInput("; ".join(faults))
    task, samples = job.recipe.task, endpoint.samples
    key = identity("endpoint_answers", VERSION, endpoint=endpoint.deciding, splits=splits.digest, task=task)

    def make(folder: Path) -> EndpointAnswers:
        rows = read_split(splits, "train")
        asked = [messages_of(endpoint, task, job.labels, row.text) for row in rows]
        questions = [question_of(messages) for messages in asked]
        home, store = job.settings.home, job.store
        with store.locked(f"teacher-{_cache_name(endpoint)}"), _cache(home, endpoint) as replies:
            asking = _Asking(endpoint, replies, dict(zip(questions, asked, strict=True)), reader(task, job.labels))
            asking.run()
            texts, spent = replies.texts(questions), replies.spent(questions)
        found = [majority([asking.read(texts[q, n]) for n in range(samples)]) for q in questions]
        write_verdicts(folder, found)
        return EndpointAnswers(
            model=endpoint.model,
            url=endpoint.url,
            splits_digest=splits.digest,
            rows=len(rows),
            samples=samples,
            unreadable=sum(not verdict.answer for verdict in found),
            accuracy=sum(v.answer == row.label for v, row in zip(found, rows, strict=True)) / len(rows),
            usd=spent.usd(endpoint.usd_per_million_in, endpoint.usd_per_million_out),
            **vars(spent),
        )

    return job.store.once(EndpointAnswers, key, make)


def _cache_name(endpoint: Endpoint) -> str:
    mine = {name: endpoint.deciding[name] for name in ("url", "model", "temperature", "max_answer_tokens")}
    return identity("teacher", VERSION, **mine)[:16]


def _cache(home: Path, endpoint: Endpoint) -> Replies:
    return Replies(home / "teachers" / f"{_cache_name(endpoint)}.sqlite")


@dataclass(frozen=True)
class Asked:
    """One reply to each of some questions, in their order, and what all of them cost."""

    texts: list[str]
    spent: Spent
    seconds: list[float]
    """Of every question once, as far as it was timed."""


def ask_all(
    settings: Settings,
    store: Store,
    endpoint: Endpoint,
    asked: Sequence[Messages],
    read: Callable[[str], str],
    place: Place = TEACHER,
) -> Asked:
    """One reply to each of `asked`; those that were given before are not asked for again.

    `read` gives the empty text for a reply of no use. Raises as `endpoint_answers` does, in the terms of `place`.
    """
    questions = [question_of(messages) for messages in asked]
    try:
        with store.locked(f"teacher-{_cache_name(endpoint)}"), _cache(settings.home, endpoint) as replies:
            _Asking(endpoint, replies, dict(zip(questions, asked, strict=True)), read).run()
            texts = replies.texts(questions)
            return Asked([texts[q, 0] for q in questions], replies.spent(questions), replies.seconds(questions))
    except SupplyChainError as error:
        raise type(error)(place.told(error)) from error


@dataclass(frozen=True)
class _Missing:
    question: str
    sample: int


class _Asking:
    """Several threads ask for what is missing; the first failure stops them, and what was under way is kept."""

    def __init__(self, endpoint: Endpoint, replies: Replies, asked: dict[str, Messages], read: Callable[[str], str]):
        self.endpoint, self.replies, self.asked, self.read = endpoint, replies, asked, read
        known = replies.texts(list(asked))
        spent = replies.spent(list(asked))
        self.total, self.done = len(asked) * endpoint.samples, 0
        self.unreadable, self.usd = 0, spent.usd(endpoint.usd_per_million_in, endpoint.usd_per_million_out)
        self.lock = threading.Lock()
        missing: list[_Missing] = []
        for question in asked:
            for sample in range(endpoint.samples):
                text = known.get((question, sample))
                if text is None:
                    missing.append(_Missing(question, sample))
                else:
                    self._count(text)
        self.missing: Iterator[_Missing] = iter(missing)
        self.anything = bool(missing)

    def run(self) -> None:
        """Returns when every answer is there."""
        self._check()
        if not self.anything:
            return
        failures: list[BaseException] = []
        bar = tqdm(desc=f"asking {self.endpoint.model}", total=self.total, initial=self.done, unit="answer")
        with ChatClient(self.endpoint) as client, bar, ThreadPoolExecutor(self.endpoint.parallel) as pool:
            try:
                workers = [pool.submit(self._work, client, bar, failures) for _ in range(self.endpoint.parallel)]
                wait(workers)
            except BaseException:
                client.stopping.set()
                raise
        if failures:
            error = failures[0]
            if not isinstance(error, SupplyChainError):
                raise error
            kept = f"{self.done} of {self.total} answers are kept: run the same command again to go on"
            raise type(error)(f"{error}. {kept}.") from error

    def _work(self, client: ChatClient, bar: Any, failures: list[BaseException]) -> None:
        try:
            while not client.stopping.is_set():
                with self.lock:
                    one = next(self.missing, None)
                if one is None:
                    return
                self._take(one, client.ask(self.asked[one.question]), bar)
        except BaseException as error:
            failures.append(error)
            client.stopping.set()
            raise

    def _take(self, one: _Missing, reply: Reply, bar: Any) -> None:
        self.replies.keep(one.question, one.sample, reply)
        with self.lock:
            spec = self.endpoint
            paid = (reply.tokens_in or 0) * spec.usd_per_million_in + (reply.tokens_out or 0) * spec.usd_per_million_out
            self.usd += paid / 1e6
            self._count(reply.text)
            bar.update()
            bar.set_postfix(usd=f"{self.usd:.2f}")
            self._check()

    def _count(self, text: str) -> None:
        self.done += 1
        if not self.read(text):
            self.unreadable += 1
            self.last = text

    def _check(self) -> None:
        limit = self.endpoint.max_usd
        if limit is not None and self.usd >= limit and self.done < self.total:
            raise InvalidInput(
                f"the teacher's answers have cost {self.usd:.4f} USD, train.teacher.endpoint.max_usd is {limit:g}: "
                "raise it to go on"
            )
        if self.done >= _ENOUGH and 2 * self.unreadable > self.done:
            raise InvalidInput(
                f"{self.unreadable} of {self.done} replies of teacher {self.endpoint.model} are none of the answers "
                f"asked for, such as {self.last[:80]!r}: say more in train.teacher.endpoint.instruction, raise "
                "max_answer_tokens, or take another model"
            )
