"""Chooses device, dtype, attention and threads by a few timed steps on the work at hand.

The fastest setting depends on shapes and on what else runs: two threads are nearly twice as fast
on idle cores and nine times slower on shared ones.
"""

import time
from collections.abc import Callable, Iterable

import torch

from supply_chain.records import Compute
from supply_chain.settings import Settings

Step = Callable[[Compute], Callable[[], object]]
"""Builds a step for one setting; what it returns runs the step once."""


def scoring_compute(settings: Settings) -> Compute:
    """Settings for evaluation: one thread unless told, so that latencies compare between contestants."""
    if _cuda(settings):
        return Compute(device="cuda", dtype="bfloat16", attention="sdpa", threads=1)
    return Compute(device="cpu", dtype="bfloat16", attention="sdpa", threads=settings.threads or 1)


def training_compute(settings: Settings, step: Step) -> Compute:
    """The fastest of a few settings for `step`, or what `settings.compute` states."""
    if _cuda(settings):
        return Compute(device="cuda", dtype="bfloat16", attention="sdpa", threads=1)
    if settings.compute:
        dtype, attention, threads = settings.compute.split(":")
        return Compute(device="cpu", dtype=dtype, attention=attention, threads=int(threads))
    start = Compute(device="cpu", dtype="float32", attention="sdpa", threads=1)
    cores = max(1, settings.cores // settings.processes)
    counts = [settings.threads] if settings.threads else sorted({1, cores})
    best = fastest((start.model_copy(update={"threads": n}) for n in counts), step)
    others = [(dtype, attention) for dtype in ("float32", "bfloat16") for attention in ("eager", "sdpa")]
    return fastest((best.model_copy(update={"dtype": d, "attention": a}) for d, a in others), step)


def fastest(settings: Iterable[Compute], step: Step) -> Compute:
    """The setting whose second step takes the least wall time (the first one warms up)."""
    times: dict[Compute, float] = {}
    for compute in settings:
        torch.set_num_threads(compute.threads)
        run = step(compute)
        run()
        began = time.perf_counter()
        run()
        times[compute] = time.perf_counter() - began
    return min(times, key=lambda compute: times[compute])


def _cuda(settings: Settings) -> bool:
    return settings.device == "cuda" or (settings.device == "auto" and torch.cuda.is_available())


def accelerator() -> str | None:
    """Name of the GPU that torch sees, or None."""
    return str(torch.cuda.get_device_name()) if torch.cuda.is_available() else None
