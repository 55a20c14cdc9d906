"""Opens an artifact's folder with the runtime that its files are for, and says how it computes there."""

import platform
from pathlib import Path

from supply_chain.executorch_model import FILE as PTE
from supply_chain.executorch_model import open_executorch
from supply_chain.formats.adapter import check_base, is_adapter
from supply_chain.llama_cpp import FILE, open_gguf
from supply_chain.loaded import Loaded
from supply_chain.mlx_model import is_mlx, open_mlx
from supply_chain.onnx_model import FILE as ONNX
from supply_chain.onnx_model import open_onnx
from supply_chain.records import Compute
from supply_chain.settings import Settings


def is_native(path: Path) -> bool:
    """Whether a folder's runtime is another than torch."""
    return (path / FILE).exists() or (path / ONNX).exists() or (path / PTE).exists() or is_mlx(path)


def serving_compute(path: Path, settings: Settings) -> Compute:
    """Device, arithmetic and threads for a folder: one thread unless told, so that latencies compare."""
    if (path / FILE).exists():
        return Compute(device="cpu", dtype="gguf", attention="llama.cpp", threads=settings.threads or 1)
    if (path / ONNX).exists():
        return Compute(device="cpu", dtype="onnx", attention="onnxruntime", threads=settings.threads or 1)
    if (path / PTE).exists():
        return Compute(device="cpu", dtype="executorch", attention="xnnpack", threads=settings.threads or 1)
    if is_mlx(path):
        device = "metal" if platform.system() == "Darwin" else "cpu"
        return Compute(device=device, dtype="mlx", attention="mlx", threads=settings.threads or 1)
    from supply_chain.compute import scoring_compute  # noqa: PLC0415 (torch, for its own formats alone)

    return scoring_compute(settings)


def open_artifact(path: Path, compute: Compute, base: Path | None = None) -> Loaded:
    """Loads a folder, an adapter's together with its `base`; nothing is fetched and no code of it is run.

    Raises CorruptData when the folder holds no whole model or the base is another one, InvalidInput for an adapter
    without a base, Unavailable when its runtime is not installed.
    """
    if (path / FILE).exists():
        return open_gguf(path, compute.threads)
    if (path / ONNX).exists():
        return open_onnx(path, compute.threads)
    if (path / PTE).exists():
        return open_executorch(path, compute.threads)
    if is_mlx(path):
        return open_mlx(path)
    from supply_chain.inference import load  # noqa: PLC0415

    return load(path, compute, check_base(path, base) if is_adapter(path) else None)
