"""Writes what a run learned: an adapter in peft's format, or whole weights in bfloat16."""

import json
import shutil
from pathlib import Path
from typing import Any

import torch

from supply_chain.store import ENTRY


def save_learned(model: Any, base_name: str, folder: Path, gathered: dict[str, torch.Tensor] | None = None) -> None:
    """The adapter of a peft model, else the model's weights. The live model stays as it is.

    `gathered` are all its weights where the model itself holds a part (`sharding.py`).
    """
    if hasattr(model, "peft_config"):
        for config in model.peft_config.values():
            config.base_model_name_or_path = base_name  # a local path would change the digest
            config.target_modules = sorted(config.target_modules)  # so would the order of a set
        model.save_pretrained(folder, state_dict=gathered, safe_serialization=True, save_embedding_layers=False)
        (folder / "README.md").unlink(missing_ok=True)
        return
    tied = getattr(model, "all_tied_weights_keys", None) or {}
    found = gathered if gathered is not None else model.state_dict()
    weights = {name: tensor.to(torch.bfloat16) for name, tensor in found.items() if name not in tied}
    model.save_pretrained(folder, state_dict=weights)
    config = folder / "config.json"
    config.write_text(json.dumps({**json.loads(config.read_text()), "dtype": "bfloat16"}, indent=2, sort_keys=True))


def copy_files(source: Path, folder: Path) -> None:
    """Copies saved weights to where a result is made; a stored object's own record stays behind."""
    for file in sorted(source.iterdir()):
        if file.name != ENTRY:
            shutil.copyfile(file, folder / file.name)
