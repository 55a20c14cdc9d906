"""A heavy stage in a process of its own: `python -m assets.worker`, or forked, through Dagster Pipes.

It needs `dagster_pipes` only, so the same worker runs as a local process, on Ray or on Kubernetes.
It reports a reference to what it stored, or the error that its user must mend.
"""

import logging
import os
import signal
import sys
import warnings
from functools import partialmethod


def stop(*_: object) -> None:
    """Ctrl-C: no traceback."""
    sys.exit(130)


signal.signal(signal.SIGINT, stop)  # also amid the imports below

from dagster_pipes import open_dagster_pipes
from tqdm.std import tqdm

from assets.refs import Ref
from assets.stages import perform
from supply_chain.errors import SupplyChainError
from supply_chain.parent import die_with_parent
from supply_chain.settings import load_settings
from supply_chain.store import Store

_QUIET = {"HF_HUB_DISABLE_TELEMETRY": "1", "TOKENIZERS_PARALLELISM": "false", "TRANSFORMERS_VERBOSITY": "error"}
_WITH_BARS = ("base", "search", "adapter")


def main() -> None:
    """Reads the stage and its inputs from the Pipes context and reports the outcome."""
    die_with_parent()
    quiet()
    with open_dagster_pipes() as pipes:
        settings = load_settings()
        store = Store.of(settings)
        stage = pipes.get_extra("stage")
        if stage != "base":
            os.environ["HF_HUB_OFFLINE"] = "1"  # only base models are ever fetched from a hub
        if stage not in _WITH_BARS:
            tqdm.__init__ = partialmethod(tqdm.__init__, disable=True)
        try:
            inputs = {name: Ref(**ref).load(store) for name, ref in pipes.get_extra("inputs").items()}
            stored = perform(stage, settings, inputs, pipes.get_extra("options"))
        except SupplyChainError as error:
            pipes.report_custom_message({"error": type(error).__name__, "message": str(error)})
        else:
            pipes.report_custom_message({"ref": Ref.to(stored).model_dump()})


def quiet() -> None:
    """Keeps libraries from telling a person what only their developers need."""
    os.environ.update(_QUIET)
    warnings.simplefilter("ignore", FutureWarning)
    warnings.simplefilter("ignore", UserWarning)
    logging.getLogger("bitsandbytes").setLevel(logging.ERROR)  # it asks for kernels from a hub


if __name__ == "__main__":
    main()
