"""The order of an epoch's rows, kept: a run that resumes in the middle of an epoch goes on with the same rows."""

import json
from collections.abc import Callable, Iterator
from pathlib import Path

from torch.utils.data import Sampler

from supply_chain.store import write_atomically


class KeptOrder(Sampler[int]):
    """Rows as `drawn` gives them when an epoch first begins.

    transformers draws the order from the global generator, and restores that generator to where the
    checkpoint left it: its state at the epoch's beginning is gone by then, and another order would be drawn.
    """

    def __init__(self, drawn: Sampler[int], folder: Path, epoch: Callable[[], int]):
        """`folder` outlives the process; `epoch` gives the number of the epoch that begins or goes on."""
        self.drawn, self.folder, self.epoch = drawn, folder, epoch

    def __iter__(self) -> Iterator[int]:
        """The rows' numbers. It always draws, so that what is drawn afterwards is the same, too."""
        order = [int(row) for row in self.drawn]
        path = self.folder / f"order-{self.epoch()}.json"
        if not path.exists():
            write_atomically(path, json.dumps(order))
        return iter(json.loads(path.read_text()))

    def __len__(self) -> int:
        """Rows of an epoch."""
        return len(self.drawn)  # type: ignore[arg-type]
