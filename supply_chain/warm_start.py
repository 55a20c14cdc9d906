"""Training goes on from learned weights: an adapter's, or whole ones; a head's rows go with their labels."""

from pathlib import Path
from typing import Any

import torch
from peft import get_peft_model_state_dict, set_peft_model_state_dict
from safetensors.torch import load_file

from supply_chain.errors import InvalidInput
from supply_chain.job import Job
from supply_chain.records import Trained
from supply_chain.store import Stored
from supply_chain.succession import predecessors

Weights = dict[str, torch.Tensor]
_HEAD = "score.weight"


def take_over(model: Any, job: Job) -> None:
    """Puts what the champion learned into `model`, in place, if the job's splits say that training goes on from it.

    Rows of a head whose labels are new stay as they were initialized. Raises InvalidInput when the
    champion's weights do not fit.
    """
    champion = next(predecessors(job.splits, job.store), None)
    if champion is None:
        return
    trained = champion.trained.verify()
    adapter = hasattr(model, "peft_config")
    before = _read(trained.path)
    own: Weights = get_peft_model_state_dict(model) if adapter else model.state_dict()
    faults = _misfits(trained, job, adapter)
    if not faults:
        for name in [name for name in before if name.endswith(_HEAD) and name in own]:
            old, new = champion.artifact.record.labels, job.labels
            before[name] = _grown(before[name], own[name], old, new)
        faults = _other_shapes(
            before, own, set() if adapter else set(getattr(model, "all_tied_weights_keys", None) or ())
        )
    if faults:
        raise InvalidInput(
            f"train.continual: the champion's weights do not fit this recipe: {'; '.join(faults)}. Train as it was "
            "trained, or take train.continual out for one training from the base"
        )
    if adapter:
        set_peft_model_state_dict(model, before)
    else:
        model.load_state_dict(before, strict=False)


def _misfits(trained: Stored[Trained], job: Job, adapter: bool) -> list[str]:
    record, faults = trained.record, []
    if record.base_digest != job.base.digest:
        faults.append(
            f"it was made from {record.base_name}, this recipe's base is {job.base.record.name} or was renewed"
        )
    if record.form != ("adapter" if adapter else "weights"):
        faults.append(f"it was trained by {record.method} and is stored as {record.form}")
    return faults


def _other_shapes(before: Weights, own: Weights, tied: set[str]) -> list[str]:
    odd = sorted((before.keys() ^ own.keys()) - tied)
    odd += sorted(name for name in before.keys() & own.keys() if before[name].shape != own[name].shape)
    return [f"{len(odd)} weights differ in name or shape, {odd[0]} for one"] if odd else []


def _grown(old: torch.Tensor, new: torch.Tensor, old_labels: list[str], labels: list[str]) -> torch.Tensor:
    """A head [labels, hidden]: old rows where their label stands now, other rows as in `new`."""
    if len(old) != len(old_labels):
        return old  # no head of labels: told as another shape
    grown = new.detach().clone()
    for row, label in zip(old, old_labels, strict=True):
        if label in labels:
            grown[labels.index(label)] = row.to(grown)
    return grown


def _read(folder: Path) -> Weights:
    weights: Weights = {}
    for file in sorted(folder.glob("*.safetensors")):
        weights |= load_file(file)
    return weights
