"""Identifies a text's language with langid's model (Lui and Baldwin 2012), bundled in py3langid."""

from supply_chain.errors import Unavailable
from supply_chain.recipe.rules import Language


class Identifier:
    """Tells whether a text is surely in a language that is not allowed."""

    def __init__(self, rule: Language):
        try:
            from py3langid.langid import MODEL_FILE, LanguageIdentifier  # noqa: PLC0415
        except ImportError:
            raise Unavailable("telling languages needs py3langid: pip install '.[language]'") from None
        self._rule = rule
        self._model = LanguageIdentifier.from_model_file(MODEL_FILE, norm_probs=True)

    def language(self, text: str) -> str:
        """The likeliest language's ISO 639-1 code."""
        return str(self._model.classify(text)[0])

    def foreign(self, text: str) -> str | None:
        """`de 0.98` for a text surely in another language, or None."""
        if len(text) < self._rule.min_chars:
            return None
        language, sure = self._model.classify(text)
        return None if language in self._rule.allowed or sure < self._rule.confidence else f"{language} {sure:.2f}"
