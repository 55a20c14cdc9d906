"""Signs manifests with Ed25519 (RFC 8032) over canonical JSON (RFC 8785), and verifies them.

The signature is the last member of the file, so that the signed bytes are the file without it.
"""

import contextlib
import os
from hashlib import sha256
from pathlib import Path
from typing import Any

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from pydantic import ValidationError

from registry.canonical import canonical_bytes
from registry.fleet import Signing
from registry.routing import RoutingManifest, Signature
from supply_chain.errors import CorruptData, InvalidInput
from supply_chain.settings import Settings
from supply_chain.store import sync, write_atomically

FOLDER, KEY = "keys", "manifest.pem"


class Key:
    """A private key and the public keys of one home."""

    def __init__(self, private: Ed25519PrivateKey):
        self.private = private
        self.id = key_id(private.public_key())

    @classmethod
    def of(cls, signing: Signing, settings: Settings) -> "Key":
        """The key that the fleet names, or one made on first use. Raises InvalidInput."""
        if signing.key_env:
            pem, where = os.environ.get(signing.key_env, ""), f"the environment variable {signing.key_env}"
            key = cls(_private(pem.encode(), where))
        else:
            path = (settings.root / signing.key_file) if signing.key_file else settings.home / FOLDER / KEY
            if not signing.key_file and not path.exists():
                _make(path)
            key = cls(_private(_guarded(path), str(path)))
        public = settings.home / FOLDER / f"{key.id[:16]}.pub"
        if not public.exists():
            form = serialization.PublicFormat.SubjectPublicKeyInfo
            pem_bytes = key.private.public_key().public_bytes(serialization.Encoding.PEM, form)
            write_atomically(public, pem_bytes.decode())
        return key

    def sign(self, content: dict[str, Any]) -> tuple[str, Signature]:
        """The text of a manifest whose members, but for the signature, are `content`; and the signature."""
        body = canonical_bytes(content)
        signature = Signature(key=self.id, value=self.private.sign(body).hex())
        return (body[:-1] + _tail(signature)).decode(), signature


def verify(data: bytes, keys: list[Ed25519PublicKey], what: str) -> RoutingManifest:
    """The manifest in `data`, if one of `keys` signed exactly these bytes. Raises CorruptData."""
    try:
        manifest = RoutingManifest.model_validate_json(data)
    except ValidationError as error:
        raise CorruptData(f"{what} is not a whole manifest ({error.error_count()} faults)") from None
    signature, tail = manifest.signature, _tail(manifest.signature)
    key = next((key for key in keys if key_id(key) == signature.key), None)
    if key is None:
        known = ", ".join(key_id(key)[:16] for key in keys) or "none"
        raise CorruptData(f"{what} is signed by key {signature.key[:16]}, which is not trusted here (trusted: {known})")
    try:
        if not data.endswith(tail):
            raise InvalidSignature
        key.verify(bytes.fromhex(signature.value), data[: -len(tail)] + b"}")
    except InvalidSignature:
        raise CorruptData(f"{what} was edited: its signature does not match its bytes") from None
    return manifest


def trusted(settings: Settings) -> list[Ed25519PublicKey]:
    """The public keys of this home: every key that it ever signed with."""
    return [read_public(path) for path in sorted((settings.home / FOLDER).glob("*.pub"))]


def read_public(path: Path) -> Ed25519PublicKey:
    """A public key in PEM. Raises InvalidInput."""
    try:
        key = serialization.load_pem_public_key(path.read_bytes())
    except (OSError, ValueError) as error:
        raise InvalidInput(f"{path} is no public key in PEM: {error}") from None
    if not isinstance(key, Ed25519PublicKey):
        raise InvalidInput(f"{path} holds a {type(key).__name__}, expected an Ed25519 public key")
    return key


def key_id(key: Ed25519PublicKey) -> str:
    """SHA-256 of the raw public key, in hex."""
    return sha256(key.public_bytes(serialization.Encoding.Raw, serialization.PublicFormat.Raw)).hexdigest()


def _tail(signature: Signature) -> bytes:
    return b',"signature":' + canonical_bytes(signature.model_dump(mode="json")) + b"}\n"


def _private(pem: bytes, where: str) -> Ed25519PrivateKey:
    cure = "make one: openssl genpkey -algorithm ed25519"
    try:
        key = serialization.load_pem_private_key(pem, password=None)
    except (ValueError, TypeError):
        raise InvalidInput(f"{where} holds no private key in PEM without a password; {cure}") from None
    if not isinstance(key, Ed25519PrivateKey):
        raise InvalidInput(f"{where} holds a {type(key).__name__}, expected an Ed25519 key; {cure}")
    return key


def _guarded(path: Path) -> bytes:
    try:
        if path.stat().st_mode & 0o077:
            raise InvalidInput(f"others may read the signing key {path}: chmod 600 {path}")
        return path.read_bytes()
    except OSError as error:
        raise InvalidInput(f"the signing key {path} cannot be read: {error.strerror}") from None


def _make(path: Path) -> None:
    """A new key, readable by its owner alone from its first byte; the first of two processes makes it."""
    path.parent.mkdir(parents=True, exist_ok=True)
    form, plain = serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    pem = Ed25519PrivateKey.generate().private_bytes(serialization.Encoding.PEM, form, plain)
    draft = path.with_name(f".{KEY}.{os.getpid()}")
    draft.unlink(missing_ok=True)
    with os.fdopen(os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as file:
        file.write(pem)
        file.flush()
        os.fsync(file.fileno())
    with contextlib.suppress(FileExistsError):  # another process was first: its key holds
        os.link(draft, path)
    draft.unlink()
    sync(path.parent)
