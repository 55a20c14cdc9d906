"""Chooses codes so that later columns make up for the rounding of earlier ones.

GPTQ (Frantar et al. 2022, arXiv:2210.17323) with any code book. With bitsandbytes' NF4 and the block
scales that it chose, only the codes change, so that the weights stay ordinary NF4 for every reader.
The second moments of each layer's inputs come from prompts of the train split.
"""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from bitsandbytes.functional import dequantize_blockwise

from supply_chain.errors import InvalidInput

_DAMPING = 0.01
_BATCH = 16


def second_moments(model: Any, rows: Sequence[Sequence[int]]) -> dict[str, torch.Tensor]:
    """For each linear layer of the decoder, the sum of x·xᵀ over the tokens of `rows`: [inputs, inputs], float32.

    `rows` are token ids; `model` is the full-precision model.
    """
    sums: dict[str, torch.Tensor] = {}
    mask = torch.empty(0)

    def note(name: str, inputs: torch.Tensor) -> None:
        tokens = inputs[mask.bool()].float()
        sums[name] = sums.get(name, 0) + tokens.T @ tokens

    with _hooked(model, note), torch.inference_mode():
        for start in range(0, len(rows), _BATCH):
            batch = rows[start : start + _BATCH]
            width = max(map(len, batch))
            ids = torch.tensor([[*row, *[0] * (width - len(row))] for row in batch], device=model.device)
            mask = torch.tensor([[1] * len(row) + [0] * (width - len(row)) for row in batch], device=model.device)
            model.get_decoder()(input_ids=ids, attention_mask=mask)
    return sums


def compensate(layer: Any, weight: torch.Tensor, moments: torch.Tensor) -> None:
    """Puts better codes into a `Linear4bit` that bitsandbytes made from `weight` [outputs, inputs].

    Raises InvalidInput when the layer's input size is no multiple of its block size.
    """
    state = layer.weight.quant_state
    outputs, inputs = weight.shape
    if inputs % state.blocksize:
        raise InvalidInput(
            f"quantize.calibration_rows: a layer has {inputs} inputs, no multiple of the block size "
            f"{state.blocksize}; set calibration_rows to 0 for plain rounding"
        )
    scales = _scales(state).reshape(outputs, inputs // state.blocksize)
    size = state.blocksize
    codes = compensated(weight.float(), state.code.float(), size, lambda start, _: scales[:, start // size], moments)
    flat = codes.reshape(-1)
    layer.weight.data = (flat[::2] << 4 | flat[1::2]).to(torch.uint8).reshape(layer.weight.data.shape)


def compensated(
    weight: torch.Tensor,
    book: torch.Tensor,
    block: int,
    scale_of: Callable[[int, torch.Tensor], torch.Tensor],
    moments: torch.Tensor,
) -> torch.Tensor:
    """Index into the ascending `book` for every weight: [outputs, inputs].

    `scale_of` gives the scales [outputs] of the block of columns that starts at a place, told what the blocks before
    have left there [outputs, block].
    """
    left, inverse = weight.clone(), _inverse_factor(moments)
    codes = torch.empty(weight.shape, dtype=torch.int64, device=weight.device)
    bounds = (book[1:] + book[:-1]) / 2
    for start in range(0, weight.shape[1], block):
        end = start + block
        scale = scale_of(start, left[:, start:end]).clamp_min(1e-12)
        errors = torch.zeros(weight.shape[0], block, device=weight.device)
        for j in range(start, end):
            column = left[:, j]
            codes[:, j] = torch.bucketize(column / scale, bounds)
            errors[:, j - start] = (column - book[codes[:, j]] * scale) / inverse[j, j]
            left[:, j + 1 : end] -= errors[:, j - start, None] * inverse[j, None, j + 1 : end]
        left[:, end:] -= errors @ inverse[start:end, end:]
    return codes


def _inverse_factor(moments: torch.Tensor) -> torch.Tensor:
    """Upper Cholesky factor of the damped inverse of `moments`."""
    size = len(moments)
    damped = moments + torch.eye(size, device=moments.device) * (_DAMPING * moments.diagonal().mean() + 1e-8)
    inverse = torch.cholesky_inverse(torch.linalg.cholesky(damped))
    return torch.linalg.cholesky(inverse, upper=True)


def _scales(state: Any) -> torch.Tensor:
    if not state.nested:
        return state.absmax.float()
    return (dequantize_blockwise(state.absmax, state.state2) + state.offset).float()


@contextmanager
def _hooked(model: Any, note: Any) -> Iterator[None]:
    handles = []
    owners: dict[int, str] = {}
    for name, module in model.get_decoder().named_modules():
        if isinstance(module, torch.nn.Linear):
            owners[id(module)] = name
            handles.append(module.register_forward_pre_hook(lambda m, args: note(owners[id(m)], args[0])))
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()
