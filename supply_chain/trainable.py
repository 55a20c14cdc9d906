"""Opens a base model for training: which weights learn, and which modules run in a step."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from peft import LoraConfig, get_peft_model, prepare_model_for_kbit_training
from transformers import AutoModelForSequenceClassification, BitsAndBytesConfig, set_seed

from supply_chain.errors import InvalidInput
from supply_chain.inference import has_head, keep_packed_weights_apart, open_weights
from supply_chain.recipe.distill import DistillTrain
from supply_chain.recipe.preference import PreferenceTrain
from supply_chain.recipe.train import FullTrain, HeadTrain, Lora, LoraTrain, QloraTrain
from supply_chain.records import Compute

Spec = LoraTrain | QloraTrain | FullTrain | HeadTrain | DistillTrain | PreferenceTrain


@dataclass(frozen=True)
class Trainable:
    """`model` is what checkpoints hold; `decoder` and `output` are what a step runs.

    `below` is the frozen part whose states are computed once, or None when every layer learns.
    """

    model: Any
    decoder: Any
    output: Any
    below: Any
    head: bool


def adapts(spec: Spec) -> bool:
    """Whether adapters are trained, so that the base's own weights stay out of the result."""
    if isinstance(spec, HeadTrain | PreferenceTrain):
        return spec.tune != "full"
    return not isinstance(spec, FullTrain | DistillTrain)


def has_new_head(spec: Spec) -> bool:
    """Whether a head of labels is trained, so that the model answers with a label and not with words."""
    return isinstance(spec, HeadTrain) or (isinstance(spec, DistillTrain) and spec.answers == "head")


def open_trainable(
    path: Path, spec: Spec, labels: list[str], compute: Compute, seed: int, kept: list[int] | None = None
) -> Trainable:
    """The model in `path`, ready to learn. Weights that learn are float32; bfloat16 only multiplies.

    With `kept`, only these of its layers. Raises InvalidInput when `top_layers` does not fit the model.
    """
    set_seed(seed)
    model = _open(path, spec, labels, compute)
    if kept:
        keep_layers(model, kept)
    decoder, depth = model.get_decoder(), int(model.config.num_hidden_layers)
    frozen = isinstance(spec, HeadTrain) and spec.tune == "nothing"
    top = 0 if frozen else spec.top_layers
    if top is not None and top >= depth:
        raise InvalidInput(f"train.top_layers is {top}, the base model has {depth} layers: lower it or leave it out")
    if not adapts(spec) or frozen:
        model.requires_grad_(False)
        for layer in decoder.layers[depth - (depth if top is None else top) :]:
            layer.requires_grad_(True)
        if not frozen:
            decoder.norm.requires_grad_(True)
        if has_head(model):
            model.score.requires_grad_(True)
    elif not isinstance(spec, FullTrain | DistillTrain):
        lora = spec.lora if isinstance(spec, HeadTrain | PreferenceTrain) else spec
        model = get_peft_model(model, _lora_config(lora, decoder, top, depth, has_head(model)))
    for parameter in model.parameters():
        if parameter.requires_grad:
            parameter.data = parameter.data.float()
    inner = model.get_base_model() if hasattr(model, "peft_config") else model
    output = inner.score if has_head(inner) else inner.get_output_embeddings()
    decoder = inner.get_decoder()
    if top is None:
        return Trainable(model, decoder, output, None, has_head(inner))
    lower, upper = decoder.layers[: depth - top], decoder.layers[depth - top :]
    below = _view(decoder, layers=lower, norm=torch.nn.Identity())
    return Trainable(model, _view(decoder, layers=upper), output, below, has_head(inner))


def label_model(path: Path, labels: list[str], **options: Any) -> Any:
    """A model with a new head for `labels` (last-token pooling, as transformers' own classes do it)."""
    return AutoModelForSequenceClassification.from_pretrained(
        path,
        num_labels=len(labels),
        id2label=dict(enumerate(labels)),
        label2id={label: i for i, label in enumerate(labels)},
        local_files_only=True,
        trust_remote_code=False,
        use_safetensors=True,
        **options,
    )


def keep_layers(model: Any, kept: list[int]) -> None:
    """Removes all other layers from `model`, in place."""
    decoder = model.get_decoder()
    decoder.layers = torch.nn.ModuleList([decoder.layers[i] for i in kept])
    for number, layer in enumerate(decoder.layers):
        layer.self_attn.layer_idx = number
    model.config.num_hidden_layers = len(kept)
    if getattr(model.config, "layer_types", None):
        model.config.layer_types = [model.config.layer_types[i] for i in kept]


def _open(path: Path, spec: Spec, labels: list[str], compute: Compute) -> Any:
    if not adapts(spec):
        compute = compute.model_copy(update={"dtype": "float32"})
    if isinstance(spec, HeadTrain | DistillTrain) and has_new_head(spec):
        model = label_model(
            path,
            labels,
            dtype=getattr(torch, compute.dtype),
            attn_implementation=compute.attention,
            device_map={"": compute.device},
        )
        cut = isinstance(spec, DistillTrain) and spec.student is not None
        model.config.pooling = getattr(model.config, "pooling", spec.pooling) if cut else spec.pooling
        return model
    if not isinstance(spec, QloraTrain):
        model = open_weights(path, compute)
        if has_head(model):
            raise InvalidInput(f"{path} answers with a head of labels and has no words: start from a model that writes")
        return model
    nf4 = BitsAndBytesConfig(
        load_in_4bit=True,
        bnb_4bit_quant_type="nf4",
        bnb_4bit_use_double_quant=True,
        bnb_4bit_compute_dtype=getattr(torch, compute.dtype),
    )
    model = open_weights(path, compute, nf4)
    keep_packed_weights_apart(model)  # repacked weights would silently not learn
    return prepare_model_for_kbit_training(model, use_gradient_checkpointing=False)


def _lora_config(spec: Lora, decoder: Any, top: int | None, depth: int, head: bool) -> LoraConfig:
    targets: str | list[str] = spec.targets
    if top is not None and spec.targets == "all-linear":  # peft takes no layer numbers with that word
        layer = decoder.layers[-1]
        targets = sorted({n.rpartition(".")[2] for n, m in layer.named_modules() if isinstance(m, torch.nn.Linear)})
    return LoraConfig(
        r=spec.rank,
        lora_alpha=spec.alpha,
        lora_dropout=spec.dropout,
        target_modules=targets,
        use_dora=spec.dora,
        use_rslora=spec.rslora,
        init_lora_weights=True if spec.init == "zeros" else spec.init,
        layers_to_transform=None if top is None else list(range(depth - top, depth)),
        layers_pattern=None if top is None else "layers",
        task_type="SEQ_CLS" if head else "CAUSAL_LM",
        **spec.peft,
    )


def _view(decoder: Any, **modules: Any) -> Any:
    """The same decoder with some modules put in another's place; weights are shared, nothing is copied."""
    view = decoder.__class__.__new__(decoder.__class__)
    view.__dict__.update(decoder.__dict__)
    view._modules = {**decoder._modules, **modules}
    return view
