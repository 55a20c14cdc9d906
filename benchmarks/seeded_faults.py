"""Faults that tools make between training and serving, seeded into tiny specialists: each must be refused with its
hop, and no clean build may be.

    python benchmarks/seeded_faults.py [--builds 20]
"""

import argparse
import sys
import tempfile
from pathlib import Path

from measure import ROOT, report

sys.path.insert(0, str(ROOT))

from supply_chain.errors import SupplyChainError
from supply_chain.parity import Line, check_parity
from tests.conftest import write_tiny_model
from tests.supply_chain.faults import FAULTS, tiny_lines


def refusal(line: Line) -> str:
    """What is said against a line; empty if it passes."""
    try:
        check_parity(line, line.job.store)
    except SupplyChainError as error:
        return str(error)
    return ""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--builds", type=int, default=20)
    builds = parser.parse_args().builds
    with tempfile.TemporaryDirectory() as scratch:
        model = write_tiny_model(Path(scratch) / "tiny")
        alarms, caught, missed = [], {}, []
        for seed in range(builds):
            lines = tiny_lines(Path(scratch) / str(seed), model, seed)
            alarms += [f"seed {seed}: {said}" for line in lines if (said := refusal(line))]
            if seed == 0:
                for name, (break_it, hop) in FAULTS.items():
                    for line in lines:
                        said, place = refusal(break_it(line)), f"{name}, {line.scheme.name}"
                        caught[place] = said[:400]
                        missed += [] if hop in said else [place]
            print(f"seed {seed}: {len(alarms)} false alarms, {len(missed)} faults missed", flush=True)
    schemes = sorted({place.rpartition(", ")[2] for place in caught})
    report(
        "seeded_faults",
        schemes=schemes,
        faults=len(caught),
        caught=len(caught) - len(missed),
        missed=missed,
        clean_builds=builds * len(schemes),
        false_alarms=alarms,
        reasons=caught,
    )
    sys.exit(bool(missed or alarms))


if __name__ == "__main__":
    main()
