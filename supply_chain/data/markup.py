"""Reads XML in which labelled parts of a text are marked; entities are refused."""

import io
import json
import re
from collections.abc import Iterator
from typing import Any
from xml.parsers import expat

from supply_chain.recipe.sources import MarkupFormat
from supply_chain.records import Reject

_SPACE = re.compile(r"\s+")
_MAX_DEPTH = 20


class _Refused(Exception):
    """Something that a data file has no need of."""


class _Items:
    """Collects items while expat reads."""

    def __init__(self, form: MarkupFormat):
        self.form = form
        self.done: list[tuple[dict[str, Any], int]] = []
        self.parser = expat.ParserCreate()
        self.parser.buffer_text = True
        self.parser.StartElementHandler = self._start
        self.parser.EndElementHandler = self._end
        self.parser.CharacterDataHandler = self._characters
        self.parser.EntityDeclHandler = self._refuse
        self._depth, self._line = 0, 0
        self._text: list[str] | None = None
        self._parts: list[tuple[str, list[str]]] = []

    def _start(self, tag: str, _attributes: dict[str, str]) -> None:
        self._depth += 1
        if self._depth > _MAX_DEPTH:
            raise _Refused(f"elements nested deeper than {_MAX_DEPTH}")
        if self._text is not None:
            self._parts.append((tag, []))
        elif tag == self.form.item:
            self._text, self._parts, self._line = [], [], self.parser.CurrentLineNumber

    def _characters(self, data: str) -> None:
        if self._text is not None:
            self._text.append(data)
            if self._parts and self._parts[-1][0]:
                self._parts[-1][1].append(data)

    def _end(self, tag: str) -> None:
        self._depth -= 1
        if self._text is not None and tag == self.form.item:
            self.done.append(({"text": _one_line(self._text), "fields": self._fields()}, self._line))
            self._text = None
        elif self._text is not None:
            self._parts.append(("", []))

    def _fields(self) -> str:
        fields: dict[str, str] = {}
        for tag, pieces in self._parts:
            value = _one_line(pieces).strip(self.form.strip + " ")
            if tag and value:
                fields[tag] = f"{fields[tag]} {value}" if tag in fields else value
        return json.dumps(fields, ensure_ascii=False)

    def _refuse(self, name: str, *_rest: object) -> None:
        raise _Refused(f"entity declaration {name!r}")


def read_markup(name: str, raw: io.BufferedIOBase, form: MarkupFormat) -> Iterator[tuple[dict[str, Any], int] | Reject]:
    """Each item's columns and line. Where the XML breaks off, one reject stands for the rest of the file."""
    items = _Items(form)
    while True:
        chunk = raw.read(1 << 16)
        try:
            items.parser.Parse(chunk, not chunk)
        except (expat.ExpatError, _Refused) as error:
            line = items.parser.CurrentLineNumber
            yield from items.done
            detail = f"not read from here on: {error}"
            yield Reject(reason="malformed", detail=detail, text="", file=name, line=line)
            return
        yield from items.done
        items.done.clear()
        if not chunk:
            return


def _one_line(pieces: list[str]) -> str:
    return _SPACE.sub(" ", "".join(pieces)).strip()
