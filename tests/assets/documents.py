"""The code blocks of README and docs, and the commands in them."""

import re
import shlex
from dataclasses import dataclass
from pathlib import Path

from supply_chain.settings import PROJECT

DOCUMENTS = sorted([PROJECT / "README.md", *(PROJECT / "docs").glob("*.md")])
_FENCE = re.compile(r"^(`{3,}|~{3,})([^\n]*)\n(.*?)^\1[ \t]*$", re.DOTALL | re.MULTILINE)
_ENDS = {"&&", "||", "|", ";", "&"}


@dataclass(frozen=True)
class Block:
    """One fenced block: its document, its language and what stands in it."""

    document: Path
    language: str
    text: str

    def __str__(self) -> str:
        return f"{self.document.name}: {self.text.strip().splitlines()[0][:50]}"


@dataclass(frozen=True)
class Command:
    """One simple command: the program, its arguments, and the variables set before it."""

    block: Block
    words: tuple[str, ...]
    variables: tuple[str, ...]

    def __str__(self) -> str:
        return f"{self.block.document.name}: {shlex.join(self.words)[:60]}"


def blocks() -> list[Block]:
    """Every fenced block of every document."""
    return [
        Block(path, language.strip(), text)
        for path in DOCUMENTS
        for _, language, text in _FENCE.findall(path.read_text(encoding="utf-8"))
    ]


def commands() -> list[Command]:
    """Every command of every shell block, with what joins it to others and where it reads and writes left out."""
    return [command for block in blocks() if block.language == "bash" for command in _commands(block)]


def _commands(block: Block) -> list[Command]:
    found = []
    for line in block.text.replace("\\\n", " ").splitlines():
        plain = re.sub(r"\$\([^)]*\)", "VALUE", line)
        lexer = shlex.shlex(plain, posix=True, punctuation_chars=True)
        lexer.whitespace_split, lexer.commenters = True, "#"
        part: list[str] = []
        for token in [*lexer, ";"]:
            if token in _ENDS:
                found += [_command(block, part)] if part else []
                part = []
            else:
                part.append(token)
    return found


def _command(block: Block, tokens: list[str]) -> Command:
    words, variables, skip = [], [], False
    for token in tokens:
        if skip or token in (">", "<", ">>"):
            skip = not skip
        elif not words and re.match(r"[A-Z_]+=", token):
            variables.append(token.partition("=")[0])
        else:
            words.append(token)
    return Command(block, tuple(words), tuple(variables))
