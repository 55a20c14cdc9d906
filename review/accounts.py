"""Who may review: names, roles and hashed passwords (Argon2id, RFC 9106) in one file."""

import os
import uuid
from pathlib import Path
from typing import Annotated

from cryptography.exceptions import InvalidKey
from cryptography.hazmat.primitives.kdf.argon2 import Argon2id
from pydantic import BaseModel, ConfigDict, Field, TypeAdapter, ValidationError

from supply_chain.errors import InvalidInput

MIN_PASSWORD = 12
_MAX_PASSWORD = 1024
_COST = (3, 1, 64 * 1024)
"""Iterations, lanes, memory (KiB)."""
Name = Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9._@-]{0,80}$")]
Role = Annotated[str, Field(pattern=r"^[a-z][a-z0-9_-]{0,40}$")]


class Account(BaseModel):
    """One person. Without a password only a trusted proxy can say that it is them."""

    model_config = ConfigDict(frozen=True, extra="forbid")
    roles: list[Role]
    password: str | None = None
    """Argon2id in PHC form."""


_FILE = TypeAdapter(dict[Name, Account])


class Accounts:
    """The file, read again whenever it is asked: a person who is taken out of it is out at once."""

    def __init__(self, path: Path):
        self.path = path
        self._nobody = hashed("not a password of anybody")

    def all(self) -> dict[str, Account]:
        """Accounts by name. Raises InvalidInput for a file that is missing, open to others or unreadable."""
        try:
            if self.path.stat().st_mode & 0o077:
                raise InvalidInput(f"{self.path} can be read by others: chmod 600 {self.path}")
            return _FILE.validate_json(self.path.read_bytes())
        except FileNotFoundError:
            raise InvalidInput(f"no {self.path}: supply-chain reviewer NAME --role ROLE makes the first") from None
        except ValidationError as error:
            raise InvalidInput(f"{self.path} cannot be read: {error.errors()[0]['msg']}") from None

    def check(self, name: str, password: str) -> Account | None:
        """The account, if the password is theirs. Names that do not exist take as long as those that do."""
        account = self.all().get(name)
        known = account.password if account and account.password else None
        right = verified(password, known or self._nobody)
        return account if right and known else None

    def add(self, name: str, account: Account) -> None:
        """Adds or replaces a person. Raises InvalidInput for a name or role that may not be."""
        known = self.all() if self.path.exists() else {}
        try:
            data = _FILE.dump_json(_FILE.validate_python({**known, name: account.model_dump()}), indent=1)
        except ValidationError as error:
            raise InvalidInput(f"{name}: {error.errors()[0]['msg']}; small letters, digits, . _ @ -") from None
        self.path.parent.mkdir(parents=True, exist_ok=True)
        draft = self.path.with_name(f".{self.path.name}.{uuid.uuid4().hex[:8]}")
        with os.fdopen(os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as file:
            file.write(data + b"\n")
            file.flush()
            os.fsync(file.fileno())
        os.replace(draft, self.path)


def hashed(password: str) -> str:
    """A password as it is stored."""
    iterations, lanes, kib = _COST
    kdf = Argon2id(salt=os.urandom(16), length=32, iterations=iterations, lanes=lanes, memory_cost=kib)
    return kdf.derive_phc_encoded(password.encode())


def verified(password: str, stored: str) -> bool:
    """Whether a password is the one that was stored."""
    if len(password) > _MAX_PASSWORD:
        return False
    try:
        Argon2id.verify_phc_encoded(password.encode(), stored)
    except InvalidKey:
        return False
    return True
