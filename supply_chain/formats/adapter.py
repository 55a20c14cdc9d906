"""A folder that holds a LoRA adapter alone, and the base that it lies over. Torch is not imported."""

import json
from pathlib import Path

from supply_chain.errors import CorruptData, InvalidInput
from supply_chain.identity import file_sha256
from supply_chain.store import ENTRY, FileDigest, content_digest

CONFIG = "adapter_config.json"


def is_adapter(path: Path) -> bool:
    """Whether a folder holds an adapter alone."""
    return (path / CONFIG).exists()


def check_base(path: Path, base: Path | None) -> Path:
    """The folder of the base, after every byte of it was compared with the digest that the adapter names.

    Raises InvalidInput where no base is named, CorruptData for another one.
    """
    config = json.loads((path / CONFIG).read_text(encoding="utf-8"))
    name, wanted = config["base_model_name_or_path"], str(config["revision"])
    if base is None:
        raise InvalidInput(
            f"{path} holds an adapter alone: name the folder of its base, too ({name}, digest {wanted[:12]}): "
            "python -m supply_chain.answer FOLDER BASE"
        )
    try:
        names = json.loads((base / ENTRY).read_text(encoding="utf-8"))["files"]
        found = {n: FileDigest(sha256=file_sha256(base / n), size_bytes=0) for n in names}
    except (OSError, ValueError, KeyError) as error:
        raise CorruptData(f"{base} is no stored base model: {error}") from error
    if content_digest(found) != wanted:
        raise CorruptData(
            f"{base} is not the base that the adapter was trained on: expected {name} with digest {wanted[:12]}, "
            f"found {content_digest(found)[:12]}"
        )
    return base
