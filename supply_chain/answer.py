"""Answers texts with an artifact's folder alone: `python -m supply_chain.answer FOLDER < texts.txt`.

An adapter's folder is followed by that of its base. One text a line in; one JSON object a line out, as the
registered model answers: `label`, `confidence`, `escalate`. Files are compared with their recorded digests first.
Nothing of the project but this package is needed.
"""

import json
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from supply_chain.errors import CorruptData, SupplyChainError
from supply_chain.identity import file_sha256
from supply_chain.opening import open_artifact, serving_compute
from supply_chain.prompt import Renderer
from supply_chain.scoring import LabelScorer
from supply_chain.serving import read_serving
from supply_chain.settings import load_settings


@dataclass(frozen=True)
class Answer:
    """A class name, or canonical JSON (empty where the model wrote none); its probability; whether to pass it on."""

    label: str
    confidence: float
    escalate: bool


class Answerer:
    """A stored artifact, loaded by its own runtime."""

    def __init__(self, path: Path, base: Path | None = None):
        """Loads the folder `path`, an adapter's over `base`. Raises CorruptData for other bytes than recorded."""
        _verify(path)
        self.serving = read_serving(path)
        self.loaded = open_artifact(path, serving_compute(path, load_settings()), base)
        serving = self.serving
        self.renderer = Renderer.of(serving.prompt, serving.labels, self.loaded.tokenizer, serving.task)
        self.scorer = LabelScorer(self.loaded, self.renderer) if serving.task == "classification" else None

    def answer(self, texts: Sequence[str]) -> list[Answer]:
        """One answer a text, in their order."""
        found = self._written(texts) if self.scorer is None else self._ranked(self.scorer, texts)
        promise = self.serving.escalation
        return [Answer(label, sure, promise is not None and sure < promise.threshold) for label, sure in found]

    def tokens(self, text: str) -> int:
        """Tokens of the prompt that `text` is shown in."""
        return len(self.loaded.tokenizer(self.renderer.context(text), add_special_tokens=False)["input_ids"])

    @property
    def room(self) -> int:
        """Tokens of the longest answer."""
        return self.serving.max_new_tokens if self.scorer is None else int(self.scorer.scorer.longest)

    def _ranked(self, scorer: LabelScorer, texts: Sequence[str]) -> list[tuple[str, float]]:
        shares = self.serving.calibration.probabilities(scorer.likelihoods(texts))
        return [(self.serving.labels[max(range(len(row)), key=row.__getitem__)], max(row)) for row in shares]

    def _written(self, texts: Sequence[str]) -> list[tuple[str, float]]:
        from supply_chain.generation import write  # noqa: PLC0415 (torch)

        contexts = [self.renderer.context(text) for text in texts]
        room, setting = self.serving.max_new_tokens, self.serving.setting
        written = write(self.loaded, contexts, room, self.renderer.complete, setting=setting)
        free = self.serving.task == "generation"
        return [(self.renderer.read(w.text), w.confidence(a_token=free)) for w in written]


def _verify(path: Path) -> None:
    files = json.loads((path / "entry.json").read_text(encoding="utf-8"))["files"]
    bad = [name for name, file in files.items() if not _intact(path / name, file["sha256"])]
    if bad:
        raise CorruptData(f"{path}: {', '.join(bad)} are missing or damaged; register the model again")


def _intact(path: Path, sha256: str) -> bool:
    return path.is_file() and file_sha256(path) == sha256


def main() -> None:
    """Answers standard input line by line; exit code 2 for a folder that cannot be used."""
    try:
        answerer = Answerer(*map(Path, sys.argv[1:3]))
        for line in sys.stdin:
            (found,) = answerer.answer([line.rstrip("\n")])
            sys.stdout.write(json.dumps(found.__dict__, ensure_ascii=False) + "\n")
            sys.stdout.flush()
    except SupplyChainError as error:
        sys.stderr.write(f"{error}\n")
        sys.exit(2)


if __name__ == "__main__":
    main()
