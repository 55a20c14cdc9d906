"""Decontamination: which rows equal, resemble, contain or mean what a held-out set holds. That set is never touched."""

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import numpy.typing as npt
import polars as pl

from supply_chain.data.near import near_links
from supply_chain.data.near_keys import word_hashes
from supply_chain.data.pool import Pool
from supply_chain.data.rows import Row, read_rows
from supply_chain.data.same import key_of, same_text
from supply_chain.data.source import Located, locate
from supply_chain.errors import InvalidInput
from supply_chain.recipe.rules import HeldOut, NearDuplicates

Ints = npt.NDArray[np.int64]
Keys = npt.NDArray[np.uint64]
_BATCH = 8192
_STEP = np.uint64(0x9E3779B97F4A7C15)


def held_out_texts(held_out: HeldOut, source: Located) -> tuple[list[str], list[int], str]:
    """The texts of a held-out set, their lines, and the version of its bytes.

    Raises InvalidInput for a row without a text: what cannot be compared would be trained on unseen.
    """
    located = locate(held_out.source, source.downloads, source.root)
    texts, lines, bad = [], [], []
    for row in read_rows(located, held_out.format, [held_out.text]):
        text = row.values.get(held_out.text) if isinstance(row, Row) else None
        if isinstance(text, str) and text.strip():
            texts.append(text.encode("utf-8", "replace").decode())
            lines.append(row.line)
        else:
            bad.append(f"line {row.line}")
    if bad or not texts:
        where = ", ".join(bad[:5]) + (f" and {len(bad) - 5} more" if len(bad) > 5 else "") or "any row"
        raise InvalidInput(
            f"data.rules.decontaminate: {held_out.name} has no text in {held_out.text!r} in {where}: "
            "name another column, or take such rows out"
        )
    return texts, lines, located.version


def contaminated(held_out: HeldOut, rule: NearDuplicates, source: Located, pool: Pool, scratch: Path) -> dict[int, str]:
    """The rows that must not be trained on, each with the held-out line that it gives away and how."""
    texts, lines, _ = held_out_texts(held_out, source)
    column = pool.column("text")
    ways = [_equal(texts, pool)]
    if held_out.near:
        ways.append(_alike(texts, column, rule, scratch))
    if held_out.shared_words is not None:
        ways.append(_quoting(texts, column, held_out.shared_words))
    if held_out.meaning is not None:
        ways.append(_meaning(texts, column, held_out.meaning))
    found: dict[int, str] = {}
    for way in ways:
        for row, other, how in way:
            found.setdefault(row, f"{how} line {lines[other]} of {held_out.name}")
    return found


def _equal(texts: list[str], pool: Pool) -> Iterator[tuple[int, int, str]]:
    first: dict[int, int] = {}
    for number, text in enumerate(texts):
        first.setdefault(key_of(same_text(text)), number)
    for row in np.flatnonzero(np.isin(pool.keys, np.fromiter(first, np.uint64, len(first)))).tolist():
        yield row, first[int(pool.keys[row])], "equal to"


def _alike(texts: list[str], column: pl.Series, rule: NearDuplicates, scratch: Path) -> Iterator[tuple[int, int, str]]:
    together = pl.concat([pl.Series(texts), column.alias("")], rechunk=False)
    links = near_links(together, rule, scratch, held_out=len(texts))
    for left, right, score in zip(links.left.tolist(), links.right.tolist(), links.similarity.tolist(), strict=True):
        yield right - len(texts), left, f"{score:.2f} alike to"


def _quoting(texts: list[str], column: pl.Series, words: int) -> Iterator[tuple[int, int, str]]:
    """Texts with this many words in a row from a held-out text (as Brown et al. 2020, arXiv:2005.14165, appendix C)."""
    keys, owners = _grams(pl.Series(texts), words)
    known, first = np.unique(keys, return_index=True)
    if not len(known):
        return
    for start in range(0, len(column), _BATCH):
        grams, rows = _grams(column[start : start + _BATCH], words)
        place = np.searchsorted(known, grams)
        place[place == len(known)] = 0
        for one in np.flatnonzero(known[place] == grams).tolist():
            yield start + int(rows[one]), int(owners[first[place[one]]]), f"shares {words} words in a row with"


def _grams(texts: pl.Series, words: int) -> tuple[Keys, Ints]:
    """A hash of every run of `words` words, and the text it stands in."""
    hashes, counts = word_hashes(texts)
    rows = np.repeat(np.arange(len(counts)), counts)
    number = max(0, len(hashes) - words + 1)
    keys = np.zeros(number, dtype=np.uint64)
    for place in range(words):
        keys = keys * _STEP + hashes[place : place + number]
    whole = rows[:number] == rows[words - 1 :][:number]
    return keys[whole], rows[:number][whole]


def _meaning(texts: list[str], column: pl.Series, least: float) -> Iterator[tuple[int, int, str]]:
    """Texts whose static embedding lies near a held-out text's."""
    from supply_chain.data.embeddings import embed  # noqa: PLC0415 (an extra)

    held = embed(texts)
    for start in range(0, len(column), _BATCH):
        cosine = embed(column[start : start + _BATCH].to_list()) @ held.T
        best = cosine.argmax(axis=1)
        for row in np.flatnonzero(cosine[np.arange(len(best)), best] >= least).tolist():
            yield start + row, int(best[row]), f"{cosine[row, best[row]]:.2f} alike in meaning to"
