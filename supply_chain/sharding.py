"""One model's weights shared out over several GPUs, instead of a copy on each: what that asks for, and what is told.

PyTorch's `fully_shard` (FSDP, Zhao et al. 2023, arXiv:2304.11277) through Accelerate and transformers' trainer.
"""

from typing import Any

import torch
from transformers import Trainer

from supply_chain.compute import scoring_compute
from supply_chain.errors import InvalidInput
from supply_chain.recipe.schema import Train
from supply_chain.settings import Settings

ENVIRONMENT = {"ACCELERATE_USE_FSDP": "true", "FSDP_STATE_DICT_TYPE": "FULL_STATE_DICT", "FSDP_VERSION": "2"}
"""What `accelerate launch` tells its processes before they join: whole weights are gathered over gloo, too."""


def check_sharding(train: Train, settings: Settings) -> None:
    """Raises InvalidInput with everything that keeps the weights of this training from being shared out."""
    if not settings.sharded:
        return
    faults, count = [], settings.processes
    if scoring_compute(settings).device == "cpu":
        faults.append("Accelerate shards on GPUs alone, and would train whole copies on this CPU without a word")
    elif torch.cuda.device_count() < count:
        faults.append(f"SUPPLY_CHAIN_PROCESSES is {count}, and there are {torch.cuda.device_count()} GPUs")
    if count == 1:
        faults.append("one process has nobody to share with: set SUPPLY_CHAIN_PROCESSES to the number of GPUs")
    if train.method == "qlora":
        faults.append("train.method qlora: 4-bit weights cannot be shared out; take lora")
    if train.top_layers is not None:
        faults.append("train.top_layers: the states of the lower layers are computed by one process; leave it out")
    if train.stopping is not None:
        faults.append("train.stopping: the leading process cannot measure with a part of the weights; leave it out")
    if faults:
        raise InvalidInput(f"SUPPLY_CHAIN_SHARDED: {'; '.join(faults)}; or set SUPPLY_CHAIN_SHARDED=false")


def sharding_arguments() -> dict[str, Any]:
    """What the trainer is told: layer by layer, weights freed after each, and whole files at every checkpoint."""
    return {
        "fsdp": True,
        "fsdp_config": {
            "version": 2,
            "auto_wrap_policy": "TRANSFORMER_BASED_WRAP",
            "reshard_after_forward": True,
            "state_dict_type": "FULL_STATE_DICT",
        },
    }


def whole_weights(trainer: Trainer) -> dict[str, torch.Tensor] | None:
    """All weights on the leading process's CPU; None where each process has them anyway. Every process must ask."""
    if not trainer.is_fsdp_enabled:
        return None
    gathered: dict[str, torch.Tensor] = trainer.accelerator.get_state_dict(trainer.model)
    return gathered
