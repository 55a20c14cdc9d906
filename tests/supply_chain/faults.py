"""Tiny specialists from recipe to artifact, and the faults that tools are known to make on the way.

Each fault is a tool's: the broken object is stored with the digests of its own bytes, but for damage on disk.
"""

import json
import shutil
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from safetensors.torch import load_file, save_file

from supply_chain.answer import Answer, Answerer
from supply_chain.artifacts import merge, quantize, save_nf4
from supply_chain.data.curate import curate
from supply_chain.data.source import locate
from supply_chain.data.split import split
from supply_chain.formats.executorch import write_executorch
from supply_chain.formats.gguf import write_gguf
from supply_chain.formats.integers import write_integers
from supply_chain.formats.mlx import write_mlx
from supply_chain.formats.onnx import write_onnx
from supply_chain.hub import provide_base
from supply_chain.identity import identity
from supply_chain.job import Job
from supply_chain.parity import Line
from supply_chain.recipe import load_recipe
from supply_chain.recipe.part import Surroundings
from supply_chain.recipe.quantize import BnbNf4, Executorch, Gguf, Integers, Mlx, Onnx, Quantize
from supply_chain.records import Artifact, Trained
from supply_chain.saving import copy_files
from supply_chain.settings import Settings
from supply_chain.store import Record, Store, Stored
from supply_chain.tracking import NoTracker
from supply_chain.training import train
from tests.conftest import write_tiny_project
from tests.supply_chain.test_training import entry

SCHEMES: dict[str, Quantize] = {
    "gguf-q4_k_m": Gguf(scheme="gguf"),
    "bnb-nf4": BnbNf4(scheme="bnb-nf4", calibration_rows=16),
}
TRAIN = {"rank": 4, "alpha": 8, "max_steps": 16, "batch_size": 8, "learning_rate": 0.01}


def tiny_lines(home: Path, tiny_model: Path, seed: int = 17, schemes: Mapping[str, Quantize] = SCHEMES) -> list[Line]:
    """A LoRA specialist made below `home`, in every scheme."""
    path = write_tiny_project(home / "project")
    recipe = load_recipe(path, Surroundings(root=home / "project", bases=("tiny",)))
    recipe = recipe.model_copy(update={"train": recipe.train.model_copy(update=TRAIN)})
    settings = Settings(home=home, compute="float32:eager:1", seed=seed)
    store = Store.of(settings)
    data = curate(recipe.data, locate(recipe.data.source, home / "downloads", root=home / "project"), store)
    splits = split(data, recipe.data.split, seed, store)
    job = Job(recipe, provide_base(entry(tiny_model), home / "downloads", store), splits, settings, store)
    trained = train(job, lambda key: NoTracker())
    merged = merge(job, trained)
    return [Line(job, trained, merged, quantize(job, merged, scheme), scheme) for scheme in schemes.values()]


def answers_here_and_away(line: Line, elsewhere: Path, base: Sequence[Path] = ()) -> tuple[list[Answer], list[Answer]]:
    """Answers of an artifact in the store, and of a copy of its files (and its base's) while there is no store."""
    texts, sources = [row.text for row in line.rows[:5]], [line.artifact.path, *base]
    before = Answerer(*sources).answer(texts)
    copies = [Path(shutil.copytree(source, elsewhere / str(i))) for i, source in enumerate(sources)]
    root = line.job.store.root
    root.rename(root.with_name("away"))
    try:
        return before, Answerer(*copies).answer(texts)
    finally:
        root.with_name("away").rename(root)


def stored(line: Line, of: Stored[Any], name: str, make: Callable[[Path], None], **changes: Any) -> Stored[Any]:
    """An object like `of` with the files that `make` writes."""

    def write(folder: Path) -> Record:
        make(folder)
        record: Record = of.record.model_copy(update=changes)
        return record

    key = identity("fault", 1, name=name, scheme=line.scheme.name, of=of.key)
    return line.job.store.once(type(of.record), key, write)


def rebuilt(line: Line, name: str, change: Callable[[Path], None], source: Path | None = None) -> Line:
    """The line with an artifact made from `source` after `change` of its files; its record is the clean one's."""

    def make(folder: Path) -> None:
        work = folder.with_name(f"{folder.name}-source")
        shutil.copytree(source or line.merged.path, work)
        (work / "entry.json").unlink(missing_ok=True)
        if isinstance(line.scheme, Gguf):
            change(work)
            write_gguf(work, folder, line.scheme)
        else:
            if isinstance(line.scheme, Onnx):
                write_onnx(work, folder, line.scheme)
            elif isinstance(line.scheme, Mlx):
                write_mlx(work, folder, line.scheme)
            elif isinstance(line.scheme, Executorch):
                write_executorch(work, folder, line.scheme)
            elif isinstance(line.scheme, Integers):
                write_integers(work, folder, line.scheme, [[*range(9, 250, step)] for step in (3, 5, 7)])
            else:
                save_nf4(work, folder, line.scheme.model_copy(update={"calibration_rows": 0}))
            for file in sorted(line.merged.path.glob("*token*")) + sorted(line.merged.path.glob("*.jinja")):
                shutil.copyfile(file, folder / file.name)
            change(folder)
        shutil.copyfile(line.artifact.path / "serving.json", folder / "serving.json")
        shutil.rmtree(work)

    return replace(line, artifact=stored(line, line.artifact, name, make))


def requantized(line: Line, trained: Stored[Trained], merged: Stored[Artifact]) -> Line:
    """The line with an artifact that was made, as it should be, from another merged model."""
    return replace(line, trained=trained, merged=merged, artifact=quantize(line.job, merged, line.scheme))


def wrong_template(line: Line) -> Line:
    def change(folder: Path) -> None:
        path = folder / "chat_template.jinja"
        path.write_text(path.read_text().replace("<|im_start|>", "<s>"))

    return rebuilt(line, "template", change)


def scaled_adapter(line: Line, factor: float) -> Stored[Trained]:
    def make(folder: Path) -> None:
        copy_files(line.trained.path, folder)
        weights = load_file(folder / "adapter_model.safetensors")
        scaled = {name: tensor * factor if "lora_B" in name else tensor for name, tensor in weights.items()}
        save_file(scaled, folder / "adapter_model.safetensors")

    return stored(line, line.trained, f"scaled-{factor}", make)


def zeroed_adapter(line: Line) -> Line:
    trained = scaled_adapter(line, 0.0)
    return requantized(line, trained, merge(line.job, trained))


def adapter_not_merged(line: Line) -> Line:
    def make(folder: Path) -> None:
        copy_files(line.merged.path, folder)
        shutil.copyfile(line.job.base.path / "model.safetensors", folder / "model.safetensors")

    return requantized(line, line.trained, stored(line, line.merged, "unmerged", make))


def swapped_labels(line: Line) -> Line:
    def change(folder: Path) -> None:
        told = json.loads((folder / "tokenizer.json").read_text())
        words = told["model"]["vocab"]
        words["Ġpositive"], words["Ġnegative"] = words["Ġnegative"], words["Ġpositive"]
        (folder / "tokenizer.json").write_text(json.dumps(told))

    return rebuilt(line, "labels", change)


def shuffled_stop(line: Line) -> Line:
    def change(folder: Path) -> None:
        told = json.loads((folder / "tokenizer_config.json").read_text())
        (folder / "tokenizer_config.json").write_text(json.dumps({**told, "eos_token": "<|im_start|>"}))

    return rebuilt(line, "stop", change)


def damaged(line: Line, name: str, damage: Callable[[bytes], bytes]) -> Line:
    copy = stored(line, line.artifact, name, lambda folder: copy_files(line.artifact.path, folder))
    path = copy.path / next(file for file in copy.files if file.startswith("model."))
    path.write_bytes(damage(path.read_bytes()))
    return replace(line, artifact=copy)


def truncated_file(line: Line) -> Line:
    return damaged(line, "truncated", lambda data: data[: len(data) // 2])


def flipped_byte(line: Line) -> Line:
    def flip(data: bytes) -> bytes:
        place = len(data) * 3 // 4
        return data[:place] + bytes([data[place] ^ 0x10]) + data[place + 1 :]

    return damaged(line, "flipped", flip)


def other_tokenizer(line: Line) -> Line:
    def change(folder: Path) -> None:
        told = json.loads((folder / "tokenizer.json").read_text())
        kept = told["model"]["merges"][: len(told["model"]["merges"]) // 4]  # as if learned on other texts
        told["model"]["merges"] = kept
        (folder / "tokenizer.json").write_text(json.dumps(told))

    return rebuilt(line, "tokenizer", change)


def wrong_checkpoint(line: Line) -> Line:
    return rebuilt(line, "base", lambda folder: None, line.job.base.path)


def earlier_checkpoint(line: Line) -> Line:
    """Half of what was learned, as a checkpoint from the middle of the run would have."""
    merged = merge(line.job, scaled_adapter(line, 0.5))
    return rebuilt(line, "earlier", lambda folder: None, merged.path)


def other_source(line: Line) -> Line:
    """As `wrong_checkpoint`, by a tool that says so."""
    other = stored(line, line.artifact, "source", lambda f: copy_files(line.artifact.path, f), made_from="0" * 64)
    return replace(line, artifact=other)


OWN = "merged → "
FAULTS: dict[str, tuple[Callable[[Line], Line], str]] = {
    "wrong chat template": (wrong_template, OWN),
    "zeroed adapter": (zeroed_adapter, "base → adapter"),
    "adapter not merged": (adapter_not_merged, "adapter → merged"),
    "swapped label tokens": (swapped_labels, OWN),
    "shuffled stop token": (shuffled_stop, OWN),
    "truncated weights file": (truncated_file, OWN),
    "one flipped byte": (flipped_byte, OWN),
    "tokenizer of another model": (other_tokenizer, OWN),
    "quantized from the wrong checkpoint": (wrong_checkpoint, OWN),
    "quantized from an earlier checkpoint": (earlier_checkpoint, OWN),
    "quantized from another model, as recorded": (other_source, OWN),
}
"""Each fault with the hop that must be named."""
