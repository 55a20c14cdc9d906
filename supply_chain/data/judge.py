"""What can be said of a row by itself: its text, answer, group and time, or the reason it is rejected."""

import math
import re
from collections.abc import Callable
from datetime import datetime
from typing import NamedTuple

from supply_chain.data.rows import Row
from supply_chain.data.target import prompt_and_answer, target_reader
from supply_chain.identity import canonical_json
from supply_chain.recipe.data import DataSpec
from supply_chain.recipe.rules import Filter
from supply_chain.records import Reject

_META = 200


class Candidate(NamedTuple):
    """A row that passed; see `Example`."""

    text: str
    label: str
    group: str
    time: str
    file: str
    line: int
    flags: str = ""
    meta: str = ""


def row_judge(spec: DataSpec) -> Callable[[Row], Candidate | Reject]:
    """A function that turns a row into a candidate, or a reject with the first reason that holds."""
    blocked = _any_word(spec.rules.blocked_words)
    conditions = [(f, _condition(f)) for f in spec.rules.filters]
    low, high = spec.rules.min_chars, spec.rules.max_chars
    target_of, chat, column, answers = target_reader(spec), spec.task == "generation", spec.text, spec.label.column
    kept = _metadata(spec.metadata) if spec.metadata else None
    group_of, withheld, timed = _group(spec), spec.rules.pii is not None, spec.split.time is not None

    def judge(row: Row) -> Candidate | Reject:
        values = row.values
        text, answer = prompt_and_answer(spec, values) if chat else (values.get(column), values.get(answers))
        if not isinstance(text, str):
            return reject(row, "not_text", f"found {type(text).__name__}", "" if text is None else str(text)[:500])
        text = text.strip()
        label, group = target_of(answer), group_of(row)
        time = _time(spec, row) if timed else ""
        reason = detail = ""
        if "\x00" in text:
            reason = "nul_byte"
        elif len(text) < low:
            reason, detail = "too_short", f"{len(text)} characters"
        elif len(text) > high:
            reason, detail = "too_long", f"{len(text)} characters"
        elif not _encodable(f"{text}{label}{group}"):
            reason, detail = "encoding", "holds half of a surrogate pair"
        elif label is None:
            reason, detail = "unknown_label", "" if withheld else f"found {str(answer)[:200]!r}"
        elif group is None:
            reason = "no_group"
        elif time is None:
            reason, detail = "no_time", f"{spec.split.time} is no ISO date or number"
        elif blocked and blocked.search(text):
            reason = "blocked_word"
        elif failed := [f.column for f, holds in conditions if not holds(values.get(f.column))]:
            reason, detail = "filtered", failed[0]
        else:
            return Candidate(text, label, group, time, row.file, row.line, "", kept(row) if kept else "")
        return reject(row, reason, detail, text)

    def reject(row: Row, reason: str, detail: str, text: str) -> Reject:
        shown = "" if withheld else text[:500].encode("utf-8", "replace").decode()
        detail = detail.encode("utf-8", "replace").decode()
        return Reject(reason=reason, detail=detail, text=shown, file=row.file, line=row.line)

    return judge


def columns_of(spec: DataSpec) -> list[str]:
    """The columns that a spec needs, each once."""
    chat = spec.task == "generation" and spec.label.column == "label" and spec.text == "messages"
    names = [spec.text, *([] if chat else [spec.label.column]), *(f.column for f in spec.rules.filters)]
    names += spec.metadata
    names += [spec.group.column] if spec.group else []
    names += [spec.split.time] if spec.split.time else []
    return list(dict.fromkeys(names))


def instant(value: str) -> float:
    """A number, or an ISO date as seconds since 1970. Raises ValueError for anything else."""
    try:
        return float(value)
    except ValueError:
        moment = datetime.fromisoformat(value)
        return (moment.replace(tzinfo=None) - (moment.utcoffset() or datetime.min - datetime.min)).timestamp()


def _group(spec: DataSpec) -> Callable[[Row], str | None]:
    if spec.group is None:
        return lambda row: f"{row.file}:{row.line}"
    column, pattern = spec.group.column, re.compile(spec.group.pattern) if spec.group.pattern else None

    def group(row: Row) -> str | None:
        found = row.values.get(column)
        value = "" if found is None else str(found)
        if pattern is None:
            return value or None
        match = pattern.search(value)
        return match.group(1) if match else None

    return group


def _metadata(columns: list[str]) -> Callable[[Row], str]:
    def kept(row: Row) -> str:
        found = {c: "" if row.values.get(c) is None else str(row.values[c])[:_META] for c in columns}
        return canonical_json(found).encode("utf-8", "replace").decode()

    return kept


def _time(spec: DataSpec, row: Row) -> str | None:
    value = str(row.values.get(spec.split.time or "", ""))
    try:
        found = instant(value)
    except ValueError:
        return None
    return value if math.isfinite(found) else None


def _condition(rule: Filter) -> Callable[[object], bool]:
    pattern = re.compile(rule.matches) if rule.matches is not None else None

    def holds(value: object) -> bool:
        text = "" if value is None else str(value)
        if rule.one_of is not None and text not in rule.one_of:
            return False
        if pattern is not None and not pattern.search(text):
            return False
        if rule.at_least is None and rule.at_most is None:
            return True
        try:
            number = float(text)
        except ValueError:
            return False
        return (rule.at_least is None or number >= rule.at_least) and (rule.at_most is None or number <= rule.at_most)

    return holds


def _any_word(words: list[str]) -> re.Pattern[str] | None:
    return re.compile(rf"\b(?:{'|'.join(map(re.escape, words))})\b", re.IGNORECASE) if words else None


def _encodable(text: str) -> bool:
    if text.isascii():
        return True
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True
