"""The fleet policy: what holds for all specialists together (`recipes/fleet.yaml`)."""

from typing import Annotated, Literal

from pydantic import Field, model_validator

from supply_chain.recipe.data import Sensitivity
from supply_chain.recipe.load import load_yaml
from supply_chain.recipe.part import Part
from supply_chain.settings import Settings

Use = Literal["research", "commercial"]
EnvName = Annotated[str, Field(pattern=r"^[A-Z][A-Z0-9_]*$")]


class Fallback(Part):
    """Who answers when no specialist may or can."""

    name: Annotated[str, Field(pattern=r"^[a-z][a-z0-9_-]{1,60}$")]
    url_env: EnvName
    """Environment variable with the URL of an OpenAI-compatible endpoint; the URL itself is never stored."""
    usd_per_1k_requests: float = Field(ge=0)
    zone: str = Field("any", pattern=r"^[a-z0-9-]+$")
    """Where it answers; `any`: nobody promises where."""
    accepts: Sensitivity = "internal"
    """The most sensitive text that it may see."""


class Policy(Part):
    """What the fleet is for, and what that asks of everything its models were made from."""

    use: Use = "commercial"
    licenses: dict[str, Use] = {}
    """What further licences permit: `my-license: commercial`. These win over the known ones."""


class Signing(Part):
    """The Ed25519 key (PKCS8 PEM) that signs manifests; by default one that is made in the home folder."""

    key_env: EnvName | None = None
    """Environment variable that holds the key."""
    key_file: str | None = None
    """A file that only its owner may read."""

    @model_validator(mode="after")
    def _one(self) -> "Signing":
        if self.key_env and self.key_file:
            raise ValueError("key_env and key_file exclude each other")
        return self


class RouterPolicy(Part):
    """A learned router, trained on the data of the fleet's specialists."""

    min_accuracy: float = Field(0.9, ge=0, le=1)
    """Share of test rows that must reach their specialist (lower 95% bound)."""
    false_rejection: float = Field(0.05, gt=0, lt=0.5)
    """Share of the fleet's own requests that may go to the generalist instead."""


class UrlPlace(Part):
    """A folder or bucket, as an fsspec URL."""

    kind: Literal["url"]
    url: str


class HttpPlace(Part):
    """An endpoint that takes the manifest by PUT."""

    kind: Literal["http"]
    url_env: EnvName
    token_env: EnvName | None = None
    """Bearer token."""


Place = Annotated[UrlPlace | HttpPlace, Field(discriminator="kind")]


class Webhook(Part):
    """Is told fleet, generation and SHA-256 by POST, with an HMAC over the body."""

    url_env: EnvName
    secret_env: EnvName


class Email(Part):
    """Sends mail; who and where stands here, the rest in environment variables."""

    to: list[Annotated[str, Field(pattern=r"^[^@\s,]+@[^@\s,]+$")]] = Field(min_length=1)
    sender: Annotated[str, Field(pattern=r"^[^@\s,]+@[^@\s,]+$")]
    server_env: EnvName
    """Environment variable with `host:port`."""
    tls: Literal["starttls", "tls", "none"] = "starttls"
    user_env: EnvName | None = None
    password_env: EnvName | None = None


class Notices(Part):
    """Who is told that a run failed, or that another version serves."""

    webhook: Webhook | None = None
    email: Email | None = None

    @model_validator(mode="after")
    def _somebody(self) -> "Notices":
        if self.webhook is None and self.email is None:
            raise ValueError("names nobody to tell: give webhook or email")
        return self


class Fleet(Part):
    """Policy of one fleet."""

    name: Annotated[str, Field(pattern=r"^[a-z][a-z0-9_-]{1,60}$")]
    fallback: Fallback
    policy: Policy = Policy()
    signing: Signing = Signing()
    router: RouterPolicy | None = None
    """Without it, requests are routed by task and keywords alone."""
    publish_to: list[Place] = []
    """Where else each generation goes."""
    webhook: Webhook | None = None
    notices: Notices | None = None
    """Without it, failures and promotions are shown in the UI alone."""


def load_fleet(settings: Settings) -> Fleet:
    """`fleet.yaml` of the recipes' folder. Raises InvalidRecipe with all faults, InvalidInput if absent."""
    return load_yaml(settings.recipes / "fleet.yaml", Fleet)
