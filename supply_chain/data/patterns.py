"""Personal data that has a form of its own, most of it with a check digit."""

from collections.abc import Iterator
from functools import lru_cache
from typing import Any, NamedTuple

import regex

from supply_chain.recipe.rules import PiiType


class Span(NamedTuple):
    """Personal data in a text, from `start` to before `end` (characters)."""

    type: PiiType
    start: int
    end: int


_EMAIL = regex.compile(r"(?<![\w.+-])[\w.!#$%&'*+/=?^`{|}~-]{1,64}@[\w-]{1,63}(?:\.[\w-]{1,63})+")
_URL = regex.compile(
    r"\bhttps?://[^\s<>\"')\]]+|\bwww\.[\p{L}\d-]+(?:\.[\p{L}\d-]+)+(?:/[^\s<>\"')\]]*)?", regex.IGNORECASE
)
_IP = regex.compile(
    r"(?<![\d.])(?:(?:25[0-5]|2[0-4]\d|1?\d?\d)\.){3}(?:25[0-5]|2[0-4]\d|1?\d?\d)(?![\d.]*\d)"
    r"|(?<![\w:])(?:[0-9a-f]{1,4}:){7}[0-9a-f]{1,4}(?![\w:])|(?<![\w:])(?:[0-9a-f]{1,4}:){1,6}:(?:[0-9a-f]{1,4}(?![\w:]))?",
    regex.IGNORECASE,
)
_IBAN = regex.compile(r"(?<![A-Z0-9])[A-Z]{2}\d{2}(?:[ -]?[A-Z0-9]){11,30}(?![A-Z0-9])", regex.IGNORECASE)
_CARD = regex.compile(r"(?<!\d)(?:\d[ -]?){11,18}\d(?!\d)")
_PHONE = regex.compile(
    r"(?<![\w.])(?:\+|00)?(?:\d{1,3}[\s.-]?)?(?:\(\d{1,4}\)[\s.-]?)?\d{2,5}(?:[\s.-]\d{2,8}){1,4}(?:\s?(?:x|ext\.?)\s?\d{1,5})?(?!\w|[.-]\d)"
    r"|(?<![\w.])\+?\d{10,13}(?:\s?(?:x|ext\.?)\s?\d{1,5})?(?!\w)"
)
_OTHER = regex.compile(
    r"\d{3}-\d\d-\d{4}$|(?:19|20)\d\d[-./][01]\d[-./][0-3]\d|\d{1,2}[-./]\d{1,2}[-./](?:19|20)?\d\d(?![-./ ]?\d)"
)
"""Digits in groups that are no telephone number: US social security numbers and dates."""


def patterned(text: str, wanted: frozenset[PiiType]) -> Iterator[Span]:
    """Every match, strongest evidence first; spans may overlap. Telephone numbers: see `phones`."""
    if "EMAIL" in wanted:
        yield from (Span("EMAIL", m.start(), m.end()) for m in _EMAIL.finditer(text))
    if "URL" in wanted:
        yield from (Span("URL", m.start(), m.end() - _tail(m.group())) for m in _URL.finditer(text))
    if not any(c.isdigit() for c in text):
        return
    if "IBAN" in wanted:
        yield from _ibans(text)
    if "CARD" in wanted:
        yield from _cards(text)
    if "IP" in wanted:
        yield from (Span("IP", m.start(), m.end()) for m in _IP.finditer(text))
    if "NATIONAL_ID" in wanted:
        yield from _national_ids(text)


def phones(text: str) -> Iterator[Span]:
    """Seven to fifteen digits, grouped as telephone numbers are."""
    return (Span("PHONE", m.start(), m.end()) for m in _PHONE.finditer(text) if _is_phone(m.group()))


def luhn(digits: str) -> bool:
    """Whether the last digit checks the others (ISO/IEC 7812-1)."""
    doubled = (int(d) * 2 for d in digits[-2::-2])
    return (sum(map(int, digits[-1::-2])) + sum(d - 9 if d > 9 else d for d in doubled)) % 10 == 0


def is_iban(value: str) -> bool:
    """Whether the check digits fit (ISO 13616, modulus 97)."""
    turned = value[4:] + value[:4]
    return 15 <= len(value) <= 34 and int("".join(str(int(c, 36)) for c in turned)) % 97 == 1


def _ibans(text: str) -> Iterator[Span]:
    for match in _IBAN.finditer(text, overlapped=True):
        found = match.group()
        ends = [n for n in range(len(found), 14, -1) if found[n - 1].isalnum()]
        for end in ends:
            if is_iban("".join(c for c in found[:end].upper() if c.isalnum())):
                yield Span("IBAN", match.start(), match.start() + end)
                break


def _cards(text: str) -> Iterator[Span]:
    for match in _CARD.finditer(text):
        digits = "".join(c for c in match.group() if c.isdigit())
        short = len(digits) == 12 and digits[0] not in "56"
        if luhn(digits) and not short and len(set(digits)) > 1:
            yield Span("CARD", match.start(), match.end())


def _is_phone(value: str) -> bool:
    digits = sum(c.isdigit() for c in value)
    return 7 <= digits <= 15 and not _OTHER.match(value.strip())


def _national_ids(text: str) -> Iterator[Span]:
    for recognizer in _recognizers():
        for found in recognizer.analyze(text, recognizer.supported_entities, None) or ():
            if found.score >= 0.5:
                yield Span("NATIONAL_ID", found.start, found.end)


@lru_cache(maxsize=1)
def _recognizers() -> list[Any]:
    """Presidio's recognizers whose numbers carry a check digit, and US social security numbers."""
    from presidio_analyzer import predefined_recognizers as known  # noqa: PLC0415 (an extra)

    names = (
        "UsSsnRecognizer", "EsNifRecognizer", "ItFiscalCodeRecognizer", "PlPeselRecognizer", "NhsRecognizer",
        "FiPersonalIdentityCodeRecognizer", "InAadhaarRecognizer", "AuTfnRecognizer",
    )  # fmt: skip
    return [getattr(known, name)() for name in names]


def _tail(url: str) -> int:
    return len(url) - len(url.rstrip(".,;:!?"))
