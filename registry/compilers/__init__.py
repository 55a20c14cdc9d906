"""Turns a generation of the manifest into other systems' configurations, and says what they cannot express."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Compiled:
    """A configuration's text, and each thing of the manifest that it does not carry, in a sentence."""

    text: str
    lost: list[str]
