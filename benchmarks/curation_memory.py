"""Peak memory of curating and splitting 5 million rows (`--rows N` for another number), in a process of its own."""

import argparse
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from measure import report
from rows_made import write

from supply_chain.data.curate import curate
from supply_chain.data.source import locate
from supply_chain.data.split import split
from supply_chain.recipe.data import DataSpec
from supply_chain.store import Store


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--rows", type=int, default=5_000_000)
    parser.add_argument("--in", dest="folder", type=Path)
    args = parser.parse_args()
    if args.folder:
        work(args.folder)
        return
    with tempfile.TemporaryDirectory() as name:
        write(Path(name) / "rows.jsonl", args.rows)
        command = [sys.executable, __file__, "--in", name]
        out = subprocess.run(command, check=True, capture_output=True, text=True).stdout.splitlines()
    figures = dict(line.split("=") for line in out if "=" in line)
    report("curation_memory", rows=args.rows, limit_mib=2048, **{k: float(v) for k, v in figures.items()})


def work(root: Path) -> None:
    spec = DataSpec.model_validate({"source": {"kind": "path", "path": "rows.jsonl"}, "license": "CC-BY-4.0"})
    store = Store(root / "store")
    start = time.perf_counter()
    made = curate(spec, locate(spec.source, root / "downloads", root), store)
    print(
        f"kept={made.record.rows_kept}\ncurate_seconds={time.perf_counter() - start:.1f}\ncurate_peak_mib={peak():.0f}",
        flush=True,
    )
    start = time.perf_counter()
    split(made, spec.split, 17, store)
    print(f"split_seconds={time.perf_counter() - start:.1f}\npeak_mib={peak():.0f}")


def peak() -> float:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


if __name__ == "__main__":
    main()
