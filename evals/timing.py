"""How long decisions take and how much memory the process has used."""

import resource
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import cycle, islice
from pathlib import Path

import numpy as np

_WARM_UPS = 3


@dataclass(frozen=True)
class Latency:
    """Wall time of single decisions in milliseconds."""

    p50_ms: float
    p95_ms: float


def time_decisions(decide: Callable[[str], object], texts: Sequence[str], requests: int) -> Latency:
    """Times `requests` single calls of `decide` on `texts` (again from the first if there are few)."""
    for text in islice(cycle(texts), _WARM_UPS):
        decide(text)
    elapsed_ms = []
    for text in islice(cycle(texts), requests):
        start = time.perf_counter()
        decide(text)
        elapsed_ms.append(1000 * (time.perf_counter() - start))
    p50_ms, p95_ms = np.quantile(elapsed_ms, [0.5, 0.95])
    return Latency(float(p50_ms), float(p95_ms))


def peak_memory_bytes() -> int:
    """The most memory this process has held.

    `ru_maxrss` of a child starts at its parent's peak, so Linux's own count is preferred.
    """
    status = Path("/proc/self/status")
    if status.exists():
        line = next((x for x in status.read_text().splitlines() if x.startswith("VmHWM:")), None)
        if line:
            return int(line.split()[1]) * 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
