"""In-scope accuracy and out-of-scope detection on clinc150 (150 intents): `python benchmarks/clinc150.py`.

One recipe (`specialist.CLINC150`), the whole in-scope train set, SmolLM2-135M on the CPU; the stored bytes answer the
official test rows, in full precision and in 4 bits. No out-of-scope row is trained on: a row is told from those in
scope by the likeliest label's probability alone (Hendrycks and Gimpel 2017, arXiv:1610.02136). For scale: Larson et
al. 2019 (arXiv:1909.02027) report 0.969 with BERT, which has 110 M parameters.
"""

import os

os.environ.update({"HF_HUB_OFFLINE": "1", "TOKENIZERS_PARALLELISM": "false"})

from banking77 import predicted
from measure import data_folder, read_lines, report
from sklearn.metrics import roc_auc_score, roc_curve
from specialist import CLINC150, make, official

from evals.predictions import read_predictions
from supply_chain.compute import scoring_compute
from supply_chain.inference import load
from supply_chain.job import Job
from supply_chain.prompt import Renderer
from supply_chain.records import Artifact
from supply_chain.scoring import label_likelihoods
from supply_chain.serving import read_serving
from supply_chain.store import Stored


def main() -> None:
    """Writes `results/clinc150.json`."""
    job = official("clinc150", CLINC150)
    made = make(job)
    report(
        "clinc150",
        train=CLINC150,
        **made.told(),
        full_precision=_both_scopes(job, "specialist", made.merged),
        nf4=_both_scopes(job, "bnb-nf4", made.in_4_bits()),
    )


def _both_scopes(job: Job, contestant: str, artifact: Stored[Artifact]) -> dict[str, float]:
    figures, found = predicted(job, contestant, artifact)
    inside = [answer.confidence for answer in read_predictions(found)]
    strange = [row["text"] for row in read_lines(data_folder("clinc150") / "oos_test.jsonl")]
    outside = confidences(job, artifact, strange)
    truth, sure = [1] * len(inside) + [0] * len(outside), [*inside, *outside]
    let_through, kept, _ = roc_curve(truth, sure)
    return {
        **figures,
        "oos_rows": len(outside),
        "oos_auroc": round(float(roc_auc_score(truth, sure)), 4),
        "oos_let_through_at_95_percent_kept": round(float(let_through[(kept >= 0.95).argmax()]), 4),
    }


def confidences(job: Job, artifact: Stored[Artifact], texts: list[str]) -> list[float]:
    """The likeliest label's probability for each text, calibrated as it is served."""
    loaded = load(artifact.path, scoring_compute(job.settings))
    found = label_likelihoods(loaded, Renderer.of(job.recipe.prompt, job.labels, loaded.tokenizer), texts)
    return [max(row) for row in read_serving(artifact.path).calibration.probabilities(found)]


if __name__ == "__main__":
    main()
