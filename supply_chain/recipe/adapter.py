"""What keeps a recipe's adapter from being served beside others on one base.

vLLM reads rank, alpha, targets and rsLoRA of `adapter_config.json`, refuses DoRA and ignores the rest without a
word (`vllm/lora/peft_helper.py`); it reserves room for one of a few ranks (`MaxLoRARanks` in `vllm/config/lora.py`).
"""

from collections.abc import Iterator

from supply_chain.recipe.preference import PreferenceTrain
from supply_chain.recipe.search import Choices, Search
from supply_chain.recipe.train import HeadTrain, Loop, Lora

RANKS = (1, 8, 16, 32, 64, 128, 256, 320, 512)
"""The ranks that vLLM's `--max-lora-rank` takes."""
_READ = {"exclude_modules"}
_OUTSIDE = ("lm_head", "embed_tokens")


def room_for(ranks: list[int]) -> int:
    """The least rank of vLLM's that holds all of `ranks`."""
    return next(rank for rank in RANKS if rank >= max(ranks))


def adapter_faults(train: Loop, search: Search | None) -> list[str]:
    """A sentence for each thing in `train`, or in what a search tries, that such a server would refuse or ignore."""
    lora = train if isinstance(train, Lora) else getattr(train, "lora", None)
    if not isinstance(lora, Lora) or getattr(train, "tune", "lora") != "lora" or isinstance(train, HeadTrain):
        return ["quantize: adapter needs train.method lora or qlora, or preference with tune: lora; leave it out"]
    where = "train" if lora is train else "train.lora"
    found = [*_rank_faults(lora, search, where), *_other_faults(lora, search, where)]
    if isinstance(train, PreferenceTrain) and train.start:
        found.append(f"quantize: adapter would lie over the weights of {train.start}, which is no base: leave it out")
    return found


def _rank_faults(lora: Lora, search: Search | None, where: str) -> Iterator[str]:
    tried = _tried(search, "rank")
    if tried is not None and not isinstance(tried, Choices):
        yield "search.ranges: quantize asks for an adapter, so name its ranks: {choices: [8, 16, 32]}"
        tried = None
    odd = sorted({r for r in (lora.rank, *(tried.choices if tried else ())) if isinstance(r, int)} - set(RANKS))
    for rank in odd:
        near = sorted(RANKS, key=lambda r: abs(r - rank))[:2]
        yield (
            f"{where}.rank: an adapter that is served beside others has a rank of {', '.join(map(str, RANKS))} (vLLM's "
            f"max-lora-rank), found {rank}; take {min(near)} or {max(near)}, or leave adapter out of quantize"
        )


def _other_faults(lora: Lora, search: Search | None, where: str) -> Iterator[str]:
    tried = _tried(search, "dora")
    if lora.dora or (isinstance(tried, Choices) and True in tried.choices):
        yield f"{where}.dora: vLLM does not serve DoRA; leave it out, or adapter out of quantize"
    ignored = sorted(lora.peft.keys() - _READ)
    if ignored:
        yield f"{where}.peft: vLLM does not read {', '.join(ignored)}; leave them out, or adapter out of quantize"
    outside = [name for name in _OUTSIDE if isinstance(lora.targets, list) and name in lora.targets]
    if outside:
        yield f"{where}.targets: {', '.join(outside)} lies outside the layers; leave it out, or adapter out of quantize"


def _tried(search: Search | None, key: str) -> object:
    ranges = search.ranges if search else {}
    return ranges.get(key) or ranges.get(f"lora.{key}")
