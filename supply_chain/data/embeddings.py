"""Static embeddings of texts, from a model that lies inside a wheel."""

import os
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from supply_chain.data.pinned import check_pinned
from supply_chain.errors import Unavailable

_SHA256 = "368623e6b50a61dc444fc23fec17bf8836d2d996019498dc1596b147c98a32b1"


def embed(texts: list[str]) -> npt.NDArray[np.float32]:
    """Unit vectors of WordLlama (texts × 256); zeros for an empty text.

    Raises Unavailable without the library, CorruptData for other weights than the pinned ones.
    """
    vectors = np.asarray(_model().embed(texts, norm=False), dtype=np.float32)
    lengths = np.linalg.norm(vectors, axis=1, keepdims=True)
    return np.divide(vectors, lengths, out=np.zeros_like(vectors), where=lengths > 0)


@lru_cache(maxsize=1)
def wordllama_folder() -> Path:
    """Where WordLlama's weights and tokenizer lie. Raises Unavailable, or CorruptData for other files."""
    try:
        os.environ.setdefault("HF_HUB_OFFLINE", "1")
        import wordllama  # noqa: PLC0415 (an extra)
    except ImportError:
        raise Unavailable("static embeddings need wordllama: pip install '.[noise]'") from None
    folder = Path(str(wordllama.__file__)).parent
    check_pinned("wordllama", [folder / "weights", folder / "tokenizers"], _SHA256)
    return folder


@lru_cache(maxsize=1)
def _model() -> Any:
    folder = wordllama_folder()
    import wordllama  # noqa: PLC0415 (an extra)

    return wordllama.WordLlama.load(cache_dir=folder, disable_download=True)
