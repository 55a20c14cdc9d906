"""Everything this project raises on purpose.

SupplyChainError
├── InvalidInput          a file, a setting or data that its author must mend
│   ├── InvalidRecipe     every fault of one recipe or catalogue at once
│   └── CorruptData       bytes that differ from their recorded digest
├── Unavailable           something outside is missing: a package, room on the disk, a deleted experiment
│   └── Unreachable       index, hub, database, tracking server or endpoint did not answer; the next try may do
├── CannotTrain           this recipe's values cannot be trained: it diverges, or one row does not fit into memory
└── EvidenceMismatch      what is to be promoted is not what was evaluated

Only the command line and the assets catch these. A message says what was expected, what was
found and what to do next.
"""

from dataclasses import dataclass
from pathlib import Path


class SupplyChainError(Exception):
    """Root of every error that a user can act on."""


class InvalidInput(SupplyChainError):
    """Input that cannot be used as it stands."""


class CorruptData(InvalidInput):
    """Stored or downloaded bytes that are not the recorded ones."""


class Unavailable(SupplyChainError):
    """A service or resource that was needed and did not answer."""


class Unreachable(Unavailable):
    """A service that did not answer this time."""


class CannotTrain(SupplyChainError):
    """A training that went wrong because of its recipe's values; other values may do."""


class EvidenceMismatch(SupplyChainError):
    """Evidence that does not belong to the bytes it is shown for."""


@dataclass(frozen=True)
class Fault:
    """One fault of a file: where (`train.lora.rank`, line 14) and what."""

    where: str
    message: str
    line: int | None = None

    def __str__(self) -> str:
        line = f"line {self.line}: " if self.line else ""
        return f"{line}{self.where}: {self.message}" if self.where else f"{line}{self.message}"


class InvalidRecipe(InvalidInput):
    """Every fault of one YAML file, found in one pass."""

    def __init__(self, path: Path, faults: list[Fault]):
        self.path, self.faults = path, faults
        noun = "fault" if len(faults) == 1 else "faults"
        super().__init__(f"{path}: {len(faults)} {noun}\n" + "\n".join(f"  {f}" for f in faults))
