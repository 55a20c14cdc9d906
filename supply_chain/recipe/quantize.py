"""The `quantize` block: in which formats the weights are shipped, and which of them is the candidate."""

import re
from abc import abstractmethod
from typing import Annotated, Literal

from pydantic import AfterValidator, Field

from supply_chain.recipe.part import Part

_CHOICE = re.compile(r"(smallest|fastest) (?:within (\d+(?:\.\d+)?) points?|under (\d+(?:\.\d+)?) MB)")


class Scheme(Part):
    """What every scheme states."""

    max_shift: float | None = Field(None, gt=0, exclude_if=lambda value: value is None)
    """Bound of the parity check: the mean absolute difference of the answers' log-probabilities against full precision,
    in nats a token. By default 0.05 for 16 bits, 0.1 for 8 and 0.75 for 4."""

    @property
    def name(self) -> str:
        """What the artifact is called on scorecards: the scheme, unless it has types."""
        return str(self.scheme)  # type: ignore[attr-defined]

    @property
    @abstractmethod
    def title(self) -> str:
        """The name in a person's words."""

    @property
    def bits(self) -> int:
        """Bits of most weights."""
        return 4

    @property
    def extra(self) -> str:
        """The extra that makes and runs it; empty: the core does."""
        return ""

    @property
    def alone(self) -> bool:
        """Whether its folder answers without other weights, so that it may be the candidate."""
        return True

    @property
    def shift_bound(self) -> float:
        """`max_shift`, or its default."""
        return self.max_shift or {16: 0.05, 8: 0.1, 4: 0.75}[self.bits]


class BnbNf4(Scheme):
    """bitsandbytes NormalFloat4 (Dettmers et al. 2023, arXiv:2305.14314)."""

    scheme: Literal["bnb-nf4"]
    double_quantization: bool = True
    calibration_rows: int = Field(256, ge=0, le=10_000)
    """Train rows whose activations choose the codes (GPTQ); 0 rounds each weight to its nearest code."""

    @property
    def title(self) -> str:
        """4-bit (NF4)."""
        return "Specialist, 4-bit (NF4)"


class Gguf(Scheme):
    """One file with weights, tokenizer and chat template, run by llama.cpp; needs `pip install '.[gguf]'`."""

    scheme: Literal["gguf"]
    type: Literal["f16", "q8_0", "q4_0", "q4_k_m"] = "q4_k_m"
    """llama.cpp's name. Where a layer's width is no multiple of 256, it mixes `q4_k_m` with larger types."""

    @property
    def name(self) -> str:
        """`gguf-` and the type."""
        return f"gguf-{self.type}"

    @property
    def title(self) -> str:
        """GGUF and the type."""
        return f"Specialist, GGUF {self.type.upper()}"

    @property
    def bits(self) -> int:
        """16, 8 or 4."""
        return {"f16": 16, "q8_0": 8}.get(self.type, 4)

    @property
    def extra(self) -> str:
        """`gguf`."""
        return "gguf"


class Integers(Scheme):
    """Integers in groups that share a scale, as compressed-tensors packs them for transformers and vLLM;
    needs `pip install '.[compressed-tensors]'`."""

    group_size: Literal[32, 64, 128] | None = None
    """Weights that share a scale; by default the largest of 128, 64 and 32 that divides every layer's inputs."""
    calibration_rows: int = Field(0, ge=0, le=10_000)
    """Train rows whose activations choose the codes; 0 rounds each weight to its nearest code."""

    @property
    def extra(self) -> str:
        """`compressed-tensors`."""
        return "compressed-tensors"


class Calibrated(Integers):
    """4 bits whose rounding looks at train rows."""

    calibration_rows: int = Field(256, ge=1, le=10_000)
    """Train rows whose activations choose the codes or, for AWQ, weigh the channels."""


class Gptq(Calibrated):
    """4 bits; later columns make up for the rounding of earlier ones (Frantar et al. 2022, arXiv:2210.17323)."""

    scheme: Literal["gptq"]

    @property
    def title(self) -> str:
        """4-bit (GPTQ)."""
        return "Specialist, 4-bit (GPTQ)"


class Awq(Calibrated):
    """4 bits; channels with large activations are scaled up before rounding (Lin et al. 2023, arXiv:2306.00978)."""

    scheme: Literal["awq"]

    @property
    def title(self) -> str:
        """4-bit (AWQ)."""
        return "Specialist, 4-bit (AWQ)"


class Quarot(Calibrated):
    """4 bits by GPTQ, after rotations that become part of the weights (Ashkboos et al. 2024, arXiv:2404.00456)."""

    scheme: Literal["quarot"]

    @property
    def title(self) -> str:
        """4-bit (QuaRot)."""
        return "Specialist, 4-bit (QuaRot)"


class Int8(Integers):
    """8 bits, each weight rounded to its nearest code unless there are calibration rows."""

    scheme: Literal["int8"]

    @property
    def title(self) -> str:
        """8-bit (int8)."""
        return "Specialist, 8-bit (int8)"

    @property
    def bits(self) -> int:
        """8."""
        return 8


class Adapter(Scheme):
    """The LoRA adapter itself, which servers put beside others on one base. It answers over its base, is compared like
    every format, so that the scorecard shows base → adapter → merged, and is never the candidate."""

    scheme: Literal["adapter"]

    @property
    def title(self) -> str:
        """That it is not merged."""
        return "Specialist, adapter over its base"

    @property
    def bits(self) -> int:
        """16."""
        return 16

    @property
    def alone(self) -> bool:
        """False: it needs its base."""
        return False


class Onnx(Scheme):
    """4 bits for onnxruntime, made by onnxruntime-genai's model builder; needs `pip install '.[onnx]'`."""

    scheme: Literal["onnx"]
    block_size: Literal[16, 32, 64, 128, 256] = 32
    """Weights that share a scale and a zero point."""

    @property
    def title(self) -> str:
        """4-bit (ONNX)."""
        return "Specialist, 4-bit (ONNX)"

    @property
    def extra(self) -> str:
        """`onnx`."""
        return "onnx"


class Mlx(Scheme):
    """4 bits for Apple silicon, run by mlx-lm; needs `pip install '.[mlx]'`."""

    scheme: Literal["mlx"]
    group_size: Literal[32, 64, 128] = 64
    """Weights that share a scale and an offset; it divides every layer's inputs."""

    @property
    def title(self) -> str:
        """4-bit (MLX)."""
        return "Specialist, 4-bit (MLX)"

    @property
    def extra(self) -> str:
        """`mlx`."""
        return "mlx"


class Executorch(Scheme):
    """4 bits as a `.pte` file, which ExecuTorch runs; needs what `docs/artifacts.md` says."""

    scheme: Literal["executorch"]
    group_size: Literal[32, 64, 128] = 32
    """Weights that share a scale; it divides every layer's inputs."""
    calibration_rows: int = Field(256, ge=0, le=10_000)
    """Train rows whose activations choose the codes (GPTQ); 0 rounds each weight to its nearest code."""
    context_tokens: int = Field(512, ge=64, le=32_768)
    """The most tokens that it reads: every token looks at as many places, filled or not."""

    @property
    def title(self) -> str:
        """4-bit (ExecuTorch)."""
        return "Specialist, 4-bit (ExecuTorch)"

    @property
    def extra(self) -> str:
        """`executorch`."""
        return "executorch"


NATIVE = ("gguf", "onnx", "mlx", "executorch")
"""Schemes whose runtime is another than transformers: it reads models that write words."""
Quantize = Annotated[
    BnbNf4 | Gguf | Gptq | Awq | Quarot | Int8 | Onnx | Mlx | Executorch | Adapter, Field(discriminator="scheme")
]


def _choice(value: str) -> str:
    if not _CHOICE.fullmatch(value):
        raise ValueError(f"must read like `smallest within 1 point` or `fastest under 200 MB`, found {value!r}")
    return value


Choose = Annotated[str, AfterValidator(_choice)]


def read_choice(value: str) -> tuple[str, float | None, float | None]:
    """`smallest` or `fastest`; the loss that is allowed, as a share; the most megabytes."""
    found = _CHOICE.fullmatch(value)
    assert found is not None
    order, points, megabytes = found.groups()
    return order, float(points) / 100 if points else None, float(megabytes) if megabytes else None


def quantize_faults(schemes: list[Quantize], headed: bool, max_tokens: int) -> list[str]:
    """What does not fit: schemes that stand twice, formats that hold no head of labels or read less than training."""
    names = [scheme.name for scheme in schemes]
    double = sorted({name for name in names if names.count(name) > 1})
    found = [f"quantize: {name} stands twice" for name in double]
    if not any(scheme.alone for scheme in schemes):
        found.append("quantize: an adapter needs its base, so it is no candidate: name a format beside it")
    found += [
        f"quantize: {s.name} reads {s.context_tokens} tokens, train.max_tokens is {max_tokens}: raise context_tokens"
        for s in schemes
        if isinstance(s, Executorch) and s.context_tokens < max_tokens
    ]
    if headed:
        found += [
            f"quantize: {s.name} holds a model that writes words, but train.method makes a head of labels; "
            "take bnb-nf4, or train with lora, qlora or full"
            for s in schemes
            if s.scheme in NATIVE
        ]
    return found
