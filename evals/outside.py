"""Whether questions that are none of the specialist's are told from its own."""

import difflib
from collections.abc import Sequence

import numpy as np
import scipy

from evals.estimate import Bench
from evals.metrics import Floats
from evals.sureness import Outside
from supply_chain.errors import InvalidInput
from supply_chain.escalation import Escalation


def outside_of(
    bench: Bench, answers: Sequence[str], confidences: Sequence[float], name: str, promise: Escalation | None
) -> Outside:
    """How many rows labelled `name` are answered so or passed on, and how many others.

    Raises InvalidInput when no label is called so.
    """
    if name not in bench.labels:
        near = difflib.get_close_matches(name, bench.labels, n=1, cutoff=0.5)
        hint = f"did you mean {near[0]}?" if near else f"known: {', '.join(bench.labels)}"
        raise InvalidInput(f"evaluate.out_of_scope: no label {name!r}; {hint}")
    sure, said = np.asarray(confidences), np.asarray(answers) == name
    caught = said | (sure < promise.threshold if promise else np.zeros(len(sure), dtype=bool))
    outside = np.asarray(bench.truth) == name
    return Outside(
        name=name,
        caught=bench.share(caught[outside], outside) if outside.any() else None,
        mistaken=bench.share(caught[~outside], ~outside) if not outside.all() else None,
        auroc=_auroc(np.where(said, 1 + sure, 1 - sure), outside),
    )


def _auroc(strange: Floats, outside: np.ndarray) -> float | None:
    """Mann and Whitney's statistic (Hanley and McNeil 1982); ties count half."""
    inside, beyond = int((~outside).sum()), int(outside.sum())
    if not inside or not beyond:
        return None
    ranks = scipy.stats.rankdata(strange)[outside].sum()
    return float((ranks - beyond * (beyond + 1) / 2) / (inside * beyond))
