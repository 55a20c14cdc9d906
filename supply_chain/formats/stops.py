"""Where servers stop: the end tokens that a folder's configuration files name."""

import json
from pathlib import Path


def stop_ids(folder: Path) -> dict[str, int | list[int]]:
    """`eos_token_id` by file, of the files that name one."""
    found: dict[str, int | list[int]] = {}
    for name in ("config.json", "generation_config.json"):
        if (folder / name).exists():
            value = json.loads((folder / name).read_text(encoding="utf-8")).get("eos_token_id")
            if value is not None:
                found[name] = value
    return found
