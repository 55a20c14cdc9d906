"""Accuracy on the official test rows of banking77 (77 intents): `python benchmarks/banking77.py`.

One recipe (`specialist.BANKING77`), the whole train set, SmolLM2-135M on the CPU; the stored bytes answer, in full
precision and in 4 bits. Only validation rows chose the settings. For scale: word and character TF-IDF with
logistic regression reaches 0.914; a 1B Llama with QLoRA reports 0.902.
"""

import os

os.environ.update({"HF_HUB_OFFLINE": "1", "TOKENIZERS_PARALLELISM": "false"})

from measure import report
from specialist import BANKING77, banking77, make

from evals.answering import predict_model
from evals.predictions import read_predictions
from supply_chain.compute import scoring_compute
from supply_chain.job import Job
from supply_chain.records import Artifact, Predictions
from supply_chain.store import Stored


def main() -> None:
    """Writes `results/banking77.json`."""
    job = banking77(BANKING77)
    made = make(job)
    report(
        "banking77",
        train=BANKING77,
        **made.told(),
        full_precision=answered(job, "specialist", made.merged),
        nf4=answered(job, "bnb-nf4", made.in_4_bits()),
    )


def answered(job: Job, contestant: str, artifact: Stored[Artifact]) -> dict[str, float]:
    """Accuracy, speed and size of stored weights on the test rows."""
    return predicted(job, contestant, artifact)[0]


def predicted(job: Job, contestant: str, artifact: Stored[Artifact]) -> tuple[dict[str, float], Stored[Predictions]]:
    """As `answered`, with the answers themselves."""
    found = predict_model(
        contestant,
        artifact.path,
        artifact.digest,
        artifact.size_bytes,
        job.splits,
        job.recipe,
        scoring_compute(job.settings),
        job.settings.seed,
        job.store,
    )
    answers = read_predictions(found)
    return {
        "accuracy": round(sum(a.answer == a.label for a in answers) / len(answers), 4),
        "rows": len(answers),
        "decisions_per_second": round(found.record.decisions_per_second, 1),
        "p50_ms": round(found.record.p50_ms, 1),
        "size_mb": round(found.record.size_bytes / 1e6, 1),
    }, found


if __name__ == "__main__":
    main()
