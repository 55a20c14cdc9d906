"""Where compiled configurations look for weights, and what things are called there."""

from hashlib import sha256
from urllib.parse import unquote, urlsplit

from registry.routing import Model, RoutingManifest

GGUF, FILE = "gguf", "model.gguf"


def is_gguf(model: Model) -> bool:
    """Whether its weights are one GGUF file (`model.gguf` in the artifact's folder)."""
    return model.artifact.format.startswith(GGUF)


def unserved(model: Model) -> str:
    """GGUF, ONNX, MLX or ExecuTorch, which neither vLLM nor KServe reads; empty for what they do."""
    if is_gguf(model):
        return "GGUF"
    return {"onnx": "ONNX", "mlx": "MLX", "executorch": "ExecuTorch"}.get(model.artifact.format, "")


def folder_of(name: str, uri: str) -> tuple[str, list[str]]:
    """The local folder behind a URI; for another kind of URI `/models/NAME`, and what is to be done first."""
    parts = urlsplit(uri)
    if parts.scheme == "file":
        return unquote(parts.path), []
    return f"/models/{name}", [f"{name}: fetch {uri} to /models/{name} first; nothing here does so"]


def variable_of(model: str) -> str:
    """The environment variable with the URL where a specialist is served."""
    return f"{model.upper()}_URL"


def dns_name(name: str) -> str:
    """A name as Kubernetes takes it (RFC 1123, at most 53 characters): other names stay other names."""
    plain = name.lower().replace("_", "-").replace("@", "-v")
    if plain.replace("-", "_") == name and plain[-1] != "-" and len(plain) <= 53:
        return plain
    safe = "".join(c if c.isascii() and c.isalnum() else "-" for c in plain).strip("-")[:44]
    return f"{safe or 'm'}-{sha256(name.encode()).hexdigest()[:8]}"


def head(manifest: RoutingManifest) -> str:
    """The first line of what is compiled."""
    name, number = manifest.fleet, manifest.generation
    return f"# Fleet {name}, generation {number}, compiled from its manifest. Do not edit.\n"
