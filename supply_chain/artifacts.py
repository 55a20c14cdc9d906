"""From adapter to weights that serve: merged in full precision, then in every format of the recipe."""

import shutil
from collections.abc import Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Any

import torch
from peft import PeftModel
from transformers import AutoModelForCausalLM, AutoTokenizer, BitsAndBytesConfig

from supply_chain.compensate import compensate, second_moments
from supply_chain.data.examples import read_split
from supply_chain.errors import InvalidInput
from supply_chain.formats.calibration import calibration_prompts, calibration_rows
from supply_chain.formats.executorch import write_executorch
from supply_chain.formats.gguf import FILE as GGUF
from supply_chain.formats.gguf import write_gguf
from supply_chain.formats.integers import write_integers
from supply_chain.formats.mlx import write_mlx
from supply_chain.formats.onnx import write_onnx
from supply_chain.hub import chat_template_digest, tokenizer_digest
from supply_chain.inference import keep_packed_weights_apart, model_class
from supply_chain.job import Job
from supply_chain.keys import merged_key, quantized_key
from supply_chain.lineage import origins
from supply_chain.opening import open_artifact, serving_compute
from supply_chain.recipe.quantize import Adapter, BnbNf4, Executorch, Gguf, Integers, Mlx, Onnx, Quantize
from supply_chain.records import Artifact, Trained
from supply_chain.saving import copy_files
from supply_chain.store import Stored
from supply_chain.trainable import label_model
from supply_chain.trust import serving_of

_TOKENIZER = ("tokenizer.json", "tokenizer_config.json", "chat_template.jinja", "special_tokens_map.json")


def merge(job: Job, trained: Stored[Trained]) -> Stored[Artifact]:
    """Weights that load alone: an adapter is merged into its base (added in fp32, stored as bf16 safetensors)."""

    def make(folder: Path) -> Artifact:
        learned = trained.verify().path
        if trained.record.form == "weights":
            copy_files(learned, folder)
        else:
            model = _full_precision(job, trained.record.head)
            merged = PeftModel.from_pretrained(model, learned).merge_and_unload()
            merged.to(torch.bfloat16).save_pretrained(folder)
        told = {"format": "safetensors-bf16", "bits": 16, "made_from": trained.digest, "origins": origins(job)}
        return _describe(job, folder, ["transformers"], **told)

    return job.store.once(Artifact, merged_key(job, trained), make)


def _full_precision(job: Job, pooling: str | None) -> Any:
    path = job.start.verify().path
    if pooling is None:
        return AutoModelForCausalLM.from_pretrained(
            path, dtype=torch.float32, local_files_only=True, use_safetensors=True
        )
    model = label_model(path, job.labels, dtype=torch.float32)
    model.config.pooling = pooling
    return model


def quantize(job: Job, merged: Stored[Artifact], scheme: Quantize) -> Stored[Artifact]:
    """The merged model in one format. Raises Unavailable when the format's extra is not installed.

    An adapter is not quantized: see `unmerged.py`.
    """
    if isinstance(scheme, Adapter):
        raise InvalidInput("an adapter stands for what training made, not for the merged model in another format")

    def make(folder: Path) -> Artifact:
        source, rows = merged.verify().path, []
        if isinstance(scheme, Gguf):
            write_gguf(source, folder, scheme)
            libraries = ["cyllama"]
        elif isinstance(scheme, Onnx):
            write_onnx(source, folder, scheme)
            libraries = ["onnxruntime"]
        elif isinstance(scheme, Mlx):
            write_mlx(source, folder, scheme)
            libraries = ["mlx-lm"]
        else:
            rows = calibration_rows(job, read_split(job.splits.verify(), "train"), scheme.calibration_rows)
            tokenizer = AutoTokenizer.from_pretrained(job.base.path, local_files_only=True)
            prompts = calibration_prompts(job, rows, tokenizer)
            libraries = ["transformers", scheme.extra or "bitsandbytes"]
            if isinstance(scheme, Executorch):
                write_executorch(source, folder, scheme, prompts)
                libraries = ["executorch"]
            elif isinstance(scheme, Integers):
                write_integers(source, folder, scheme, prompts)
            else:
                save_nf4(source, folder, scheme, prompts)
        return _describe(
            job,
            folder,
            libraries,
            format=scheme.name,
            bits=scheme.bits,
            made_from=merged.digest,
            origins=merged.record.origins,
            calibration=[row.id for row in rows],
        )

    return job.store.once(Artifact, quantized_key(job, merged, scheme), make)


def save_nf4(source: Path, folder: Path, scheme: BnbNf4, prompts: Sequence[Sequence[int]] = ()) -> Any:
    """Writes `source` (bf16 safetensors) to `folder` as bitsandbytes NF4; returns the model.

    With `prompts` (token ids), the codes are those that keep the layers' outputs on these prompts.
    """
    device = {"": "cuda" if torch.cuda.is_available() else "cpu"}
    config = BitsAndBytesConfig(
        load_in_4bit=True,
        bnb_4bit_quant_type="nf4",
        bnb_4bit_use_double_quant=scheme.double_quantization,
        bnb_4bit_compute_dtype=torch.bfloat16,
        llm_int8_skip_modules=["lm_head", "score"],
    )
    model = model_class(source).from_pretrained(
        source,
        quantization_config=config,
        dtype=torch.bfloat16,
        device_map=device,
        local_files_only=True,
        use_safetensors=True,
    )
    keep_packed_weights_apart(model)
    if prompts:
        full = model_class(source).from_pretrained(
            source, dtype=torch.bfloat16, device_map=device, local_files_only=True, use_safetensors=True
        )
        moments = second_moments(full.eval(), prompts)
        layers = dict(model.get_decoder().named_modules())
        for name, module in full.get_decoder().named_modules():
            if name in moments:
                compensate(layers[name], module.weight.data, moments[name])
    model.save_pretrained(folder)
    return model


def _describe(job: Job, folder: Path, libraries: Sequence[str], **told: Any) -> Artifact:
    base = job.base
    inside = (folder / GGUF).exists()
    for name in () if inside else _TOKENIZER:
        if (base.path / name).exists():
            shutil.copyfile(base.path / name, folder / name)
    loaded = open_artifact(folder, serving_compute(folder, job.settings))
    serving_of(job, loaded).write(folder)
    return Artifact(
        base_name=base.record.name,
        base_digest=base.digest,
        license=base.record.license,
        context_tokens=min(base.record.context_tokens, loaded.context_tokens),
        # llama.cpp keeps a tokenizer in its own form; that it gives the same tokens is measured, see parity.py
        tokenizer_sha256=base.record.tokenizer_sha256 if inside else tokenizer_digest(folder),
        chat_template_sha256=chat_template_digest(loaded.tokenizer),
        prompt_sha256=job.prompt_sha256,
        labels=job.labels,
        runtime=", ".join(f"{name} {version(name)}" for name in libraries),
        stop_tokens=[str(loaded.tokenizer.convert_ids_to_tokens(loaded.tokenizer.eos_token_id))],
        start="python -m supply_chain.answer FOLDER",
        **told,
    )
