"""Finds personal data and takes it out, consistently: one value, one substitute, in every row."""

import hashlib
import json
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import regex

from supply_chain.data.judge import Candidate
from supply_chain.data.patterns import Span, patterned, phones
from supply_chain.data.persons import again, language_model, names, persons_in
from supply_chain.data.places import addresses, named_places
from supply_chain.identity import canonical_json
from supply_chain.recipe.rules import Pii, PiiType
from supply_chain.records import Reject

_PASSES = 3
_TITLE = regex.compile(r"^(?:(?:mr|mrs|ms|miss|dr|prof|sir|madam|hi|hello|dear)\b\.?\s*)+", regex.IGNORECASE)
_TAIL = regex.compile(r"(?:['’]s?|[\s,.;:!?\"()-])+$")


@dataclass(frozen=True)
class Scrubbed:
    """A candidate without personal data, or its reject, and how many values of each type were found."""

    item: Candidate | Reject
    types: Counter[str]


class Scrubber:
    """Applies a `Pii` rule to candidates."""

    def __init__(self, rule: Pii, task: str = "classification"):
        self._rule, self._task = rule, task
        self._find = finder(frozenset(rule.types))
        self._forms = frozenset(rule.types) - {"PERSON", "LOCATION"}

    def scrub(self, candidates: list[Candidate]) -> list[Scrubbed]:
        """One result a candidate, in order."""
        found = self._find([c.text for c in candidates])
        return [self._scrubbed(c, spans) for c, spans in zip(candidates, found, strict=True)]

    def _scrubbed(self, candidate: Candidate, spans: list[Span]) -> Scrubbed:
        types = Counter[str](span.type for span in spans)
        target = self._free_text(candidate.label)
        inside = list(resolved(_forms(target, self._forms))) if target else []
        types.update(s.type for s in inside)
        if not types:
            return Scrubbed(candidate, types)
        shown = ", ".join(f"{t} {n}" for t, n in sorted(types.items()))
        if self._rule.action == "drop":
            reject = Reject(reason="pii", detail=shown, text="", file=candidate.file, line=candidate.line)
            return Scrubbed(reject, types)
        if self._rule.action == "flag":
            flags = " ".join(f"pii:{t}" for t in sorted(types))
            return Scrubbed(candidate._replace(flags=f"{candidate.flags} {flags}".strip()), types)
        text, replaced = self._replaced(candidate.text, spans)
        label = self._in_target(candidate.label, replaced) if target else candidate.label
        return Scrubbed(candidate._replace(text=text, label=label), types)

    def _replaced(self, text: str, spans: list[Span]) -> tuple[str, dict[str, str]]:
        replaced: dict[str, str] = {}
        substitute = redaction if self._rule.action == "redact" else surrogate
        for attempt in range(_PASSES):
            for span in sorted(spans, key=lambda s: -s.start):
                value = text[span.start : span.end]
                replaced[value] = substitute(span.type, value)
                text = text[: span.start] + replaced[value] + text[span.end :]
            # Taking out one value can lay another bare; surrogates are themselves well formed.
            spans = resolved(_forms(text, self._forms)) if self._rule.action == "redact" else []
            if not spans or attempt == _PASSES - 1:
                break
        return text, replaced

    def _free_text(self, label: str) -> str:
        return label if self._task in {"extraction", "generation"} else ""

    def _in_target(self, label: str, replaced: dict[str, str]) -> str:
        if self._task == "generation":
            return self._swapped(label, replaced)
        fields = {k: self._deep(v, replaced) for k, v in json.loads(label).items()}
        return canonical_json(fields)

    def _deep(self, value: Any, replaced: dict[str, str]) -> Any:
        if isinstance(value, list):
            return [self._deep(v, replaced) for v in value]
        return self._swapped(value, replaced) if isinstance(value, str) else value

    def _swapped(self, text: str, replaced: dict[str, str]) -> str:
        for value in sorted(replaced, key=len, reverse=True):
            text = text.replace(value, replaced[value])
        return self._replaced(text, resolved(_forms(text, self._forms)))[0] if self._forms else text


def redaction(kind: PiiType, _value: str) -> str:
    """`[PERSON]`."""
    return f"[{kind}]"


@lru_cache(maxsize=100_000)
def surrogate(kind: PiiType, value: str) -> str:
    """A made-up value of the same kind; equal values, and equal parts of names, give equal surrogates."""
    from faker import Faker  # noqa: PLC0415 (an extra)

    fake = _faker(Faker)
    fake.seed_instance(int(hashlib.sha256(f"{kind}:{value.casefold()}".encode()).hexdigest()[:16], 16))
    if kind == "PERSON":
        first, *others = value.split()
        return " ".join([_name("first", first), *(_name("last", part) for part in others)])
    made: dict[PiiType, Callable[[], str]] = {
        "LOCATION": fake.city, "PHONE": fake.phone_number, "EMAIL": fake.safe_email, "CARD": fake.credit_card_number,
        "IBAN": fake.iban, "URL": fake.url, "IP": fake.ipv4, "NATIONAL_ID": fake.ssn,
    }  # fmt: skip
    return str(made[kind]())


def _name(part: str, value: str) -> str:
    from faker import Faker  # noqa: PLC0415

    fake = _faker(Faker)
    fake.seed_instance(int(hashlib.sha256(f"{part}:{value.casefold()}".encode()).hexdigest()[:16], 16))
    return str(fake.first_name() if part == "first" else fake.last_name())


@lru_cache(maxsize=1)
def _faker(kind: Any) -> Any:
    return kind("en_US")


def finder(wanted: frozenset[PiiType]) -> Callable[[list[str]], list[list[Span]]]:
    """A function that finds the wanted types in texts; spans of one text do not overlap and are in order."""
    named = bool(wanted & {"PERSON", "LOCATION"})
    model = language_model()[0] if named else None

    def find(texts: list[str]) -> list[list[Span]]:
        if model is None:
            return [resolved(_forms(text, wanted)) for text in texts]
        return [resolved(_spans(doc, wanted)) for doc in model.pipe(texts, batch_size=128)]

    return find


def _forms(text: str, wanted: frozenset[PiiType]) -> Iterator[Span]:
    yield from patterned(text, wanted)
    if "PHONE" in wanted:
        yield from phones(text)


def resolved(spans: Iterator[Span]) -> list[Span]:
    """Of overlapping spans, the one that came first; sorted by place."""
    taken: list[Span] = []
    for span in spans:
        if span.end > span.start and not any(span.start < t.end and t.start < span.end for t in taken):
            taken.append(span)
    return sorted(taken, key=lambda s: s.start)


def _spans(doc: Any, wanted: frozenset[PiiType]) -> Iterator[Span]:
    text = doc.text
    yield from patterned(text, wanted)
    if "LOCATION" in wanted:
        yield from (Span("LOCATION", start, end) for start, end in addresses(text))
    if "PHONE" in wanted:
        yield from phones(text)
    entities = [(e.label_, *_trimmed(text, e.start_char, e.end_char)) for e in doc.ents]
    if "LOCATION" in wanted:
        yield from (Span("LOCATION", m.start(), m.end()) for m in names().countries.finditer(text))
    if "PERSON" in wanted:
        persons = list(persons_in(text, entities))
        yield from persons
        yield from again(text, persons)
    if "LOCATION" in wanted:
        other = [(s, e) for label, s, e in entities if label in {"NORP", "DATE", "LANGUAGE", "TIME"}]
        for start, end in named_places(text):
            if not names().is_word(text[start:end].split()[0]) and not any(s < end and start < e for s, e in other):
                yield Span("LOCATION", start, end)
        yield from (Span("LOCATION", s, e) for label, s, e in entities if label in {"GPE", "LOC", "FAC"})


def _trimmed(text: str, start: int, end: int) -> tuple[int, int]:
    found = text[start:end].partition("\n")[0]
    head = _TITLE.match(found)
    start += head.end() if head else 0
    found = found[head.end() :] if head else found
    tail = _TAIL.search(found)
    return start, start + (tail.start() if tail else len(found))
