"""Postal addresses by their build: numbers, street words, flats, and the place names that follow."""

from collections.abc import Iterator

import regex

_STREET = (
    r"(?:street|st|avenue|ave|av|road|rd|lane|ln|drive|dr|boulevard|blvd|court|ct|place|pl|terrace|way|square|sq|"
    r"highway|hwy|parkway|pkwy|close|crescent|circle|trail|streets|coves?|parks?|hills?|ranch|plaza|alley|"
    r"strasse|straße|gasse|platz|weg|gade|vej|gata|gatan|väg|vägen|veien|gate|katu|tie|"
    r"utca|út|útja|tér|tere|körút|u|ul|ulica|ulice|"
    r"straat|laan|plein|kade|cesta|trg|terrasse|vei)"
)
_GLUED = (
    r"\p{L}{3,}(?:strasse|straße|gasse|platz|weg|gade|vej|gata|gatan|gate|vägen|väg|veien|katu|tie|kuja|polku|utca|"
    r"straat|laan|plein|braut|stígur|vegur|veg|svingen|allé)"
)
_UP = r"\p{Lu}[\p{L}'’.-]*"
_SMALL = r"de|la|las|los|el|al|e|del|dei|degli|delle|della|da|do|dos|di|du|des|van|der|den|von|y|i|na|af|the"
_CAP = rf"(?:{_UP}|\p{{L}}/|{_SMALL})"
_UNIT = r"(?:apt|apartment|suite|ste|unit|flat|floor|fl|box|postbox|p\.?\s?o\.?\s?box|psc|nr|no|\#)\.?\s*\d{1,6}[a-z]?"
_STOP = r"(?:I|The|That|This|It|We|You|He|She|They|My|Please|Thanks|Phone|Mobile|Fax|Desk|Office|Website|Email)\b"
_FIRST = r"rue|via|viale|calle|ul\.|ulica|avenida|rua|avenue|c/|av\.|p\.?o\.? box"
_NUMBER = r"\d{1,6}(?:[-/]\d{1,5})?[a-z]?"
_PLACE = rf"(?!{_STOP})\p{{Lu}}[\p{{L}}'’-]*(?:[ -](?:\p{{Lu}}[\p{{L}}'’-]*|de|del|la|of|and))*(?![\p{{L}}:@.]*[:@])"
_ZIP = r"(?:[A-Z]{2}\s)?\d{4,6}(?:-\d{3,5})?\b"
_MORE = rf"(?:(?:\n|[,\s]|\?\?\?)+(?:(?i:{_UNIT})\b|(?i:nan)\b|{_ZIP}|\(\p{{Lu}}[\p{{L}} ]+\)|{_PLACE})){{0,8}}"
_CORES = (
    rf"(?:{_NUMBER}\s+){{0,2}}(?:{_CAP}\s+){{0,3}}(?:(?i:{_GLUED})|{_UP}\s+(?i:{_STREET})\.?)\s+{_NUMBER}\b\.?",
    rf"(?:{_NUMBER}\s+){{0,2}}\b(?i:{_FIRST})\s*(?:\p{{L}}[\p{{L}}'’.-]*\s+){{0,5}}{_NUMBER}\b\.?",
    rf"(?:{_NUMBER}\s+){{1,2}}(?i:{_FIRST})\s*(?:{_CAP}\s+){{0,4}}{_UP}",
    r"(?:US(?:S|NS|NV|CGC) \p{L}+,?\s+)?\b[AFD]PO,? A[AEP] \d{5}",
    rf"\b\p{{L}}+\s(?:út|útja|utca|tér)\s{_NUMBER}\b\.?",
    rf"(?:{_NUMBER}\s+)?{_NUMBER}\s+(?:{_CAP}\s+){{0,4}}?(?i:{_STREET})\b\.?",
    rf"(?:{_NUMBER}\s+){{1,2}}(?:(?!{_STOP}){_CAP}\s+){{1,5}}{_NUMBER}\b",
    r"\b(?i:unit|psc)\s+\d{1,5},?\s+(?i:box)\s+\d{1,5}",
    rf"\b(?i:{_UNIT})(?=[\s,])",
    rf"(?:{_CAP}\s+){{1,3}}(?:Street|Avenue|Road|Boulevard|Lane|Square|Drive|Ave|Blvd)\b\.?",
    rf"(?<=\b(?:at|on|to|of) ){_UP}(?:\s{_UP}){{0,2}}\s(?!(?:19|20)\d\d\b)\d{{1,5}}\b",
)
_ADDRESS = regex.compile(rf"(?<![\p{{L}}\d.@/-])(?:{'|'.join(f'(?:{c})' for c in _CORES)}){_MORE}")
_CORNER = regex.compile(rf"the corner of [\p{{L}}\d .'’-]{{3,40}}? and (?:{_UP}\s?|\d+\s?){{1,4}}")
_CROSSING = regex.compile(
    rf"\p{{Lu}}[\p{{L}}'’-]+ (?:\p{{Lu}}[\p{{L}}'’-]+ )?and "
    rf"(?:(?:{_CAP}\s+){{0,3}}(?i:{_STREET})\.?|(?i:{_FIRST}) (?:{_UP}\s)*{_UP})\s+{_NUMBER}\b\.?"
)
_LOOSE = regex.compile(
    rf"(?<!\d)\d{{3,6}}\s+(?:\d{{1,5}}\s+)?(?:(?:\p{{L}}[\p{{L}}'’.-]*\s+){{1,3}}\d{{1,5}}(?i:\s+{_UNIT})"
    rf"|(?:\p{{L}}+ ){{1,3}}(?:street|avenue|road|drive|lane|boulevard|st)\b(?:\s{_UNIT})?){_MORE}"
)
_PLACE_CUE = regex.compile(
    r"\b(?:in|(?:moved|travell?ing|trip|went|going|way) to|originally from|here from|arrived at|visit(?:ing)?) "
    r"(\p{Lu}[\p{L}'’-]{2,}(?: (?:de|del|la|of|\p{Lu}[\p{L}'’-]*)){0,2})"
)


def named_places(text: str) -> Iterator[tuple[int, int]]:
    """Start and end of capitalised words where a place is due: `moved to Lordelo`."""
    return ((m.start(1), m.end(1)) for m in _PLACE_CUE.finditer(text) if not text.isupper())


def addresses(text: str) -> Iterator[tuple[int, int]]:
    """Start and end of what is built like a postal address."""
    for pattern in (_CORNER, _CROSSING, _LOOSE, _ADDRESS):
        for match in pattern.finditer(text, timeout=2):
            found = match.group().rstrip(" ,\n.")
            yield match.start(), match.start() + len(found)
