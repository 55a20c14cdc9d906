"""What of the experts' corrections may be trained on: read as the data are, and nothing like a held-out row."""

from collections.abc import Iterable, Sequence

from supply_chain.data.corrections import Correction
from supply_chain.data.judge import Candidate
from supply_chain.data.same import same_text
from supply_chain.recipe.data import DataSpec


def scrubbed(rows: Sequence[Correction], data: DataSpec) -> list[Correction]:
    """The corrections as `rules.pii` leaves them: an expert may have pasted a text as it was before curation."""
    if data.rules.pii is None:
        return list(rows)
    from supply_chain.data.pii import Scrubber  # noqa: PLC0415 (an extra)

    seen = [Candidate(row.text, row.label, "", "", row.file, row.line) for row in rows]
    results = Scrubber(data.rules.pii, data.task).scrub(seen)
    return [
        row.model_copy(update={"text": result.item.text})
        for row, result in zip(rows, results, strict=True)
        if isinstance(result.item, Candidate)
    ]


def fresh(rows: Iterable[Correction], held: Sequence[str], data: DataSpec) -> list[Correction]:
    """Corrections whose text neither equals nor, unless near duplicates are kept, resembles one of `held`."""
    known = {same_text(text) for text in held}
    rows = [row for row in rows if same_text(row.text) not in known]
    rule = data.rules.near_duplicates
    if rule.action == "keep" or not rows or not held:
        return rows
    import polars as pl  # noqa: PLC0415

    from supply_chain.data.near import near_links  # noqa: PLC0415

    links = near_links(pl.Series([*held, *(row.text for row in rows)]), rule, held_out=len(held))
    alike = {place - len(held) for place in links.right.tolist()}
    return [row for place, row in enumerate(rows) if place not in alike]
