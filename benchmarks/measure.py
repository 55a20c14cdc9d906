"""What every benchmark shares: where the data is, and one JSON line with command, machine and date."""

import json
import os
import platform
import sys
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent


def data_folder(name: str) -> Path:
    """The folder of a public data set. Ends the process with a message when it is absent."""
    places = [
        os.environ.get("SUPPLY_CHAIN_BENCHMARK_DATA"),
        ROOT.parent / "shared/data",
        ROOT.parents[1] / "shared/data",
    ]
    for place in places:
        if place and (Path(place) / name).is_dir():
            return Path(place) / name
    print(json.dumps({"skipped": f"no data set {name}; set SUPPLY_CHAIN_BENCHMARK_DATA to the folder that holds it"}))
    sys.exit(0)


def read_lines(path: Path) -> list[dict[str, Any]]:
    """The objects of a JSON Lines file."""
    return [json.loads(line) for line in path.read_text(encoding="utf-8").split("\n") if line]


def _command() -> str:
    spec = sys.modules["__main__"].__spec__
    return " ".join(["python", f"-m {spec.name}" if spec else f"benchmarks/{Path(sys.argv[0]).name}", *sys.argv[1:]])


def report(name: str, **figures: Any) -> None:
    """Writes `benchmarks/results/NAME.json` and prints the same as one line."""
    cpu = next((x.split(":")[1].strip() for x in _cpuinfo() if x.startswith("model name")), platform.processor())
    result = {
        "benchmark": name,
        "command": _command(),
        "date": datetime.now(UTC).date().isoformat(),
        "machine": f"{cpu}, {os.cpu_count()} cores, Python {platform.python_version()}",
        **figures,
    }
    (ROOT / "benchmarks/results").mkdir(exist_ok=True)
    (ROOT / f"benchmarks/results/{name}.json").write_text(json.dumps(result, indent=1) + "\n", encoding="utf-8")
    print(json.dumps(result))


def _cpuinfo() -> list[str]:
    path = Path("/proc/cpuinfo")
    return path.read_text().splitlines() if path.exists() else []
