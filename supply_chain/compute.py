"""Chooses device, dtype, attention and threads by a few timed steps on the work at hand.

The fastest setting depends on the chip, on shapes and on what else runs: two threads are nearly twice as fast
on idle cores and nine times slower on shared ones, and bfloat16 is half or three times the speed of float32.
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
    cores = max(1, settings.cores // settings.processes)
    kinds = [(dtype, attention) for dtype in ("bfloat16", "float32") for attention in ("eager", "sdpa")]
    given = settings.threads or 1
    best = fastest((Compute(device="cpu", dtype=d, attention=a, threads=given) for d, a in kinds), step)
    counts = {given} if settings.threads else {1, cores}
    return fastest((best.model_copy(update={"threads": n}) for n in sorted(counts)), step)


def fastest(settings: Iterable[Compute], step: Step) -> Compute:
    """The setting with the fastest step of three, in wall time (one before them warms up)."""
    settings = list(settings)
    if len(settings) == 1:
        return settings[0]
    times: dict[Compute, float] = {}
    for compute in settings:
        torch.set_num_threads(compute.threads)
        run = step(compute)
        run()
        times[compute] = min(_seconds(run) for _ in range(3))
    return min(times, key=lambda compute: times[compute])


def _seconds(run: Callable[[], object]) -> float:
    began = time.perf_counter()
    run()
    return time.perf_counter() - began


def _cuda(settings: Settings) -> bool:
    return settings.device == "cuda" or (settings.device == "auto" and torch.cuda.is_available())


def accelerator() -> str | None:
    """Name of the GPU that torch sees, or None."""
    return str(torch.cuda.get_device_name()) if torch.cuda.is_available() else None
