"""The scoring engine as a model of EleutherAI's lm-evaluation-harness: every lm-eval task runs on it.

Requests that share a context share its forward pass (see `supply_chain/tree.py`); answers are written
with a KV cache (see `supply_chain/generation.py`). Importing this file registers `supply-chain`.
"""

import time
from collections import defaultdict
from functools import lru_cache, partial
from pathlib import Path
from typing import Any

from lm_eval import utils
from lm_eval.api.instance import Instance
from lm_eval.api.model import TemplateLM
from lm_eval.api.registry import register_model
from lm_eval.models.utils import normalize_gen_kwargs, postprocess_generated_text

from supply_chain.errors import InvalidInput
from supply_chain.generation import write
from supply_chain.inference import Loaded, load
from supply_chain.records import Compute
from supply_chain.tree import Tokens, Tree, TreeScorer

Request = tuple[tuple[str, str], list[int], list[int]]


@register_model("supply-chain")
class TreeLM(TemplateLM):
    """A loaded model, or a folder of safetensors (plain or 4-bit); `seconds` counts the time of all requests.

    Log-probabilities and greedy flags equal those of lm-eval's `HFLM` (`add_bos_token=False`).
    """

    def __init__(
        self,
        pretrained: Loaded | str,
        dtype: str = "bfloat16",
        device: str = "cpu",
        threads: int = 1,
        max_length: int | None = None,
        batch_size: int | str | None = None,
        max_batch_size: int | None = None,
    ):
        """`batch_size` and `max_batch_size` are lm-eval's; batches are made by tokens here, so neither is used."""
        super().__init__()
        if isinstance(pretrained, str):
            compute = Compute(device=device or "cpu", dtype=dtype, attention="sdpa", threads=int(threads))
            pretrained = load(Path(pretrained), compute)
        self.loaded, self.tokenizer = pretrained, pretrained.tokenizer
        self.max_length = int(max_length or pretrained.model.config.max_position_embeddings)
        self.scorer = TreeScorer(pretrained.model)
        self.seconds = 0.0
        self._encode = lru_cache(maxsize=4096)(self._tokens)

    @property
    def eot_token_id(self) -> int:
        """What ends a text."""
        return int(self.tokenizer.eos_token_id)

    @property
    def prefix_token_id(self) -> int:
        """What stands before a text without context."""
        bos = self.tokenizer.bos_token_id
        return int(bos) if bos is not None else self.eot_token_id

    @property
    def tokenizer_name(self) -> str:
        """The tokenizer's folder."""
        return str(self.tokenizer.name_or_path).replace("/", "__")

    def apply_chat_template(self, chat_history: list[dict[str, str]], add_generation_prompt: bool = True) -> str:
        """Messages as the tokenizer's chat template renders them."""
        return str(
            self.tokenizer.apply_chat_template(
                chat_history, tokenize=False, add_generation_prompt=add_generation_prompt
            )
        )

    def tok_encode(self, string: str, add_special_tokens: bool | None = None, **kwargs: Any) -> list[int]:
        """Token ids; none is added, as in training."""
        return list(self._encode(string))

    def _tokens(self, string: str) -> Tokens:
        return tuple(self.tokenizer(string, add_special_tokens=False)["input_ids"])

    def loglikelihood(self, requests: list[Instance], disable_tqdm: bool = True) -> list[tuple[float, bool]]:
        """Log-likelihood (nats) of each request's continuation, and whether it is the greedy one."""
        start = time.perf_counter()
        found: list[tuple[float, bool]] = super().loglikelihood(requests, disable_tqdm=True)
        self.seconds += time.perf_counter() - start
        return found

    def _loglikelihood_tokens(self, requests: list[Request], **kwargs: Any) -> list[tuple[float, bool]]:
        """Continuations by context; a context that is too long loses its start, as with `HFLM`."""
        wanted: dict[Tokens, dict[Tokens, list[int]]] = defaultdict(lambda: defaultdict(list))
        for i, (_, context, continuation) in enumerate(requests):
            room = self.max_length + 1 - len(continuation)
            wanted[tuple(context[-room:])][tuple(continuation)].append(i)
        scored = self.scorer.score([(context, Tree.of(list(tails))) for context, tails in wanted.items()])
        found = [(0.0, False)] * len(requests)
        for tails, result in zip(wanted.values(), scored, strict=True):
            for places, likelihood, greedy in zip(tails.values(), result.likelihoods, result.greedy, strict=True):
                for i in places:
                    found[i] = (likelihood, greedy)
        return found

    def loglikelihood_rolling(self, requests: list[Instance], disable_tqdm: bool = True) -> list[float]:
        """Log-likelihood (nats) of whole texts, in windows of the model's context."""
        windows: list[Request] = []
        owners = []
        for i, request in enumerate(requests):
            tokens = self.tok_encode(request.args[0])
            for window in utils.get_rolling_token_windows(tokens, self.prefix_token_id, self.max_length, 1):
                context, continuation = utils.make_disjoint_window(window)
                windows.append((("", ""), context, continuation))
                owners.append(i)
        totals = [0.0] * len(requests)
        for i, (likelihood, _) in zip(owners, self._loglikelihood_tokens(windows), strict=True):
            totals[i] += likelihood
        return totals

    def generate_until(self, requests: list[Instance], disable_tqdm: bool = True) -> list[str]:
        """Greedy continuations up to a stop text. Raises InvalidInput for a request to sample."""
        found = [""] * len(requests)
        alike: dict[tuple[int, tuple[str, ...]], list[int]] = defaultdict(list)
        for i, request in enumerate(requests):
            settings = normalize_gen_kwargs(dict(request.args[1]))
            if settings["do_sample"]:
                raise InvalidInput("generation_kwargs: do_sample is on; this engine writes greedily, turn it off")
            alike[settings["max_gen_toks"], tuple(settings["until"])].append(i)
        start = time.perf_counter()
        for (room, stops), places in alike.items():
            contexts = [requests[i].args[0] for i in places]
            written = write(self.loaded, contexts, room, partial(_stopped, stops))
            for i, one in zip(places, written, strict=True):
                found[i] = postprocess_generated_text(one.text, list(stops), None)
        self.seconds += time.perf_counter() - start
        return found


def _stopped(stops: tuple[str, ...], text: str) -> bool:
    return any(stop in text for stop in stops if stop)
