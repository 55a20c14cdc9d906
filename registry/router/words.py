"""Static embeddings of texts: subword vectors, averaged. Pure Python and numpy.

The vectors are WordLlama's (MIT): 32,000 subwords of the Llama 2 tokenizer, 256 numbers each, kept as
8-bit integers with one scale a row. A word is split by byte-pair encoding (Sennrich et al. 2016).
"""

import json
import re
from functools import lru_cache
from itertools import pairwise

import numpy as np
import numpy.typing as npt

from supply_chain.data.embeddings import wordllama_folder

MAX_CHARACTERS, MAX_WORD = 4000, 64
_SPACE = re.compile(r"\s+")
Vector = npt.NDArray[np.float32]


class Words:
    """Subwords with their vectors."""

    def __init__(self, vocabulary: dict[str, int], merges: list[str], codes: npt.NDArray[np.int8], scales: Vector):
        self.vocabulary, self.merges, self.codes, self.scales = vocabulary, merges, codes, scales
        self._ranks = {tuple(merge.split(" ")): rank for rank, merge in enumerate(merges)}
        self._ids = lru_cache(maxsize=1 << 16)(self._encode)

    @property
    def size(self) -> int:
        """Numbers in a vector."""
        return int(self.codes.shape[1])

    def embed(self, text: str) -> Vector:
        """The unit vector of a text's first 4,000 characters; zeros for an empty one."""
        words = _SPACE.sub(" ", text[:MAX_CHARACTERS]).strip().split(" ")
        ids = [i for word in words for at in range(0, len(word), MAX_WORD) for i in self._ids(word[at : at + MAX_WORD])]
        if not ids:
            return np.zeros(self.size, np.float32)
        total = self.scales[ids] @ self.codes[ids].astype(np.float32)
        length = float(np.linalg.norm(total))
        return np.asarray(total / length if length else total, dtype=np.float32)

    def _encode(self, word: str) -> tuple[int, ...]:
        parts, last = ["▁", *word], len(self._ranks)
        while len(parts) > 1:
            rank, at = min((self._ranks.get(pair, last), i) for i, pair in enumerate(pairwise(parts)))
            if rank == last:
                break
            parts[at : at + 2] = [parts[at] + parts[at + 1]]
        return tuple(i for part in parts for i in self._known(part))

    def _known(self, part: str) -> list[int]:
        if part in self.vocabulary:
            return [self.vocabulary[part]]
        return [self.vocabulary[f"<0x{byte:02X}>"] for byte in part.encode("utf-8", "replace")]


def wordllama_words() -> Words:
    """WordLlama's vectors out of its wheel, for training. Raises Unavailable, or CorruptData for other files."""
    from safetensors.numpy import load_file  # noqa: PLC0415

    folder = wordllama_folder()
    vectors = load_file(folder / "weights/l2_supercat_256.safetensors")["embedding.weight"].astype(np.float32)
    model = json.loads((folder / "tokenizers/l2_supercat_tokenizer_config.json").read_text(encoding="utf-8"))["model"]
    scales = np.maximum(np.abs(vectors).max(axis=1), 1e-12) / 127
    codes = np.round(vectors / scales[:, None]).astype(np.int8)
    return Words(model["vocab"], list(model["merges"]), codes, scales.astype(np.float32))
