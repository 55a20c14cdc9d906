"""When two texts count as the same."""

_64_BITS = (1 << 64) - 1


def same_text(text: str) -> str:
    """The form under which two texts count as the same: case and white space folded."""
    if "  " not in text and text.isprintable():  # then its only white space is single spaces
        return text.strip(" ").casefold()
    return " ".join(text.split()).casefold()


def key_of(text: str) -> int:
    """64 bits of Python's keyed hash (SipHash): good within this process only, and hard to make collide."""
    return hash(text) & _64_BITS
