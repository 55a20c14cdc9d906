"""The LoRA adapter as an artifact of its own: a small folder that answers over its base, unmerged.

Servers put many of them on one base (S-LoRA: Sheng et al. 2023, arXiv:2311.03285). Torch is not imported here.
"""

import json
import shutil
from importlib.metadata import version
from pathlib import Path

from supply_chain.formats.adapter import CONFIG
from supply_chain.job import Job
from supply_chain.keys import unmerged_key
from supply_chain.records import Artifact, Trained
from supply_chain.serving import FILE as SERVING
from supply_chain.store import Stored

_WITH = (SERVING, "tokenizer.json", "tokenizer_config.json", "chat_template.jinja", "special_tokens_map.json")


def unmerged(job: Job, trained: Stored[Trained], merged: Stored[Artifact]) -> Stored[Artifact]:
    """The adapter with its base's digest, and with tokenizer, prompt and calibration as the merged model has them.

    Raises CorruptData for damaged bytes.
    """

    def make(folder: Path) -> Artifact:
        of_merged = [name for name in _WITH if name in merged.files]
        for stored, names in ((trained.verify(), list(trained.files)), (merged.verify(), of_merged)):
            for name in names:
                shutil.copyfile(stored.path / name, folder / name)
        config = json.loads((folder / CONFIG).read_text(encoding="utf-8"))
        told = {**config, "base_model_name_or_path": job.base.record.name, "revision": job.base.digest}
        (folder / CONFIG).write_text(json.dumps(told, indent=2, sort_keys=True), encoding="utf-8")
        changes = {
            "format": "adapter",
            "made_from": trained.digest,
            "base_digest": job.base.digest,
            "runtime": f"transformers {version('transformers')}, peft {version('peft')}",
            "start": "python -m supply_chain.answer FOLDER BASE",
            "rank": config["r"],
        }
        return merged.record.model_copy(update=changes)

    return job.store.once(Artifact, unmerged_key(trained, merged), make)
