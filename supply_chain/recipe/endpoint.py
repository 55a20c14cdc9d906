"""`endpoint: …`: a model behind an OpenAI-compatible chat endpoint: a teacher, a judge or the generalist."""

from dataclasses import dataclass
from typing import Annotated, get_args
from urllib.parse import urlsplit

from pydantic import AfterValidator, Field, model_validator

from supply_chain.recipe.data import Sensitivity
from supply_chain.recipe.part import Part
from supply_chain.recipe.sources import EnvName

_LEVELS: tuple[str, ...] = get_args(Sensitivity)
_HERE = ("localhost", "127.0.0.1", "::1")


def _web_address(value: str) -> str:
    parts = urlsplit(value)
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise ValueError(f"must be an http or https address, found {value!r}")
    if parts.username or parts.password or parts.query or parts.fragment:
        raise ValueError("holds more than an address: keys belong into the environment variable that key_env names")
    return value.rstrip("/")


class Endpoint(Part):
    """Chat completions at `url`/chat/completions. Each row is asked once; paid answers are kept."""

    url: Annotated[str, AfterValidator(_web_address)]
    """Up to the version: `https://models.example.org/v1`."""
    model: str = Field(min_length=1)
    key_env: EnvName | None = None
    """Environment variable with the key; left out where none is asked for."""
    license: str = Field(min_length=1)
    """Terms for what is made of its answers: an SPDX identifier, a name in the fleet's policy, `proprietary`."""
    zone: str = Field(pattern=r"^[a-z0-9-]+$")
    """Where it answers; `any`: nobody promises where. Data of another zone is not sent."""
    accepts: Sensitivity = "internal"
    """The most sensitive text that it may see."""
    instruction: str | None = None
    """System message; by default one that names the labels or fields and the form of an answer."""
    samples: int = Field(1, ge=1, le=64)
    """Answers a row; the most frequent counts, its share is the confidence (Wang et al. 2022, arXiv:2203.11171)."""
    temperature: float = Field(0.0, ge=0, le=2)
    max_answer_tokens: int = Field(256, ge=1)
    usd_per_million_in: float = Field(0, ge=0)
    usd_per_million_out: float = Field(0, ge=0)
    max_usd: float | None = Field(None, gt=0)
    """Asks no more once its answers have cost this much; what is there is kept."""
    requests_per_minute: float = Field(60, gt=0)
    parallel: int = Field(4, ge=1, le=64)
    """Requests under way at once."""
    timeout_s: float = Field(60, gt=0)
    """For a whole answer."""
    attempts: int = Field(6, ge=1, le=20)
    """Tries of a request that is answered with 408, 409, 429, 5xx, garbage or not at all."""
    backoff_s: float = Field(1, gt=0)
    """Pause before the second try; it doubles up to a minute, or is what Retry-After says."""

    @property
    def deciding(self) -> dict[str, object]:
        """What decides the answers: neither prices nor pace do."""
        names = ("url", "model", "instruction", "samples", "temperature", "max_answer_tokens")
        return {name: getattr(self, name) for name in names}

    @model_validator(mode="after")
    def _fits(self) -> "Endpoint":
        parts, faults = urlsplit(self.url), []
        if self.key_env and parts.scheme == "http" and parts.hostname not in _HERE:
            faults.append("url: a key must not travel over http: take https, or leave key_env out")
        if self.samples > 1 and self.temperature == 0:
            faults.append(f"samples is {self.samples}, which are all alike at temperature 0: set temperature: 0.7")
        if self.max_usd and not (self.usd_per_million_in or self.usd_per_million_out):
            faults.append("max_usd needs usd_per_million_in and usd_per_million_out")
        if faults:
            raise ValueError("; ".join(faults))
        return self


@dataclass(frozen=True)
class Place:
    """Where a recipe names an endpoint, and what the model behind it is there."""

    part: str
    noun: str
    here: str
    """What could do the same without sending anything out."""

    def told(self, error: Exception) -> str:
        """An error of the endpoint's client, which speaks of a teacher, in the terms of this place."""
        return str(error).replace(TEACHER.part, self.part).replace(TEACHER.noun, self.noun)


TEACHER = Place("train.teacher.endpoint", "teacher", "a teacher that runs here (recipe or base)")
JUDGE = Place("evaluate.judge.endpoint", "judge", "a judge that runs here")
GENERALIST = Place("evaluate.generalist.endpoint", "generalist", "a generalist that runs here")


def closed_to(endpoint: Endpoint, sensitivity: str, zone: str, place: Place = TEACHER) -> list[str]:
    """Why data of this sensitivity and zone must not be sent to an endpoint."""
    found = []
    if _LEVELS.index(sensitivity) > _LEVELS.index(endpoint.accepts):
        found.append(
            f"{place.part}: data.sensitivity is {sensitivity}, this endpoint may see {endpoint.accepts} text "
            f"at most: take {place.here}, or one that accepts {sensitivity}"
        )
    if zone not in ("any", endpoint.zone):
        found.append(f"{place.part}: the data would leave zone {zone} for {endpoint.zone}: take an endpoint in {zone}")
    return found
