"""The project's settings: where things are kept and how much of the machine may be used.

Environment variables (`SUPPLY_CHAIN_STORE=…`) win over `settings.toml` in the project's root,
which wins over the defaults below. Recipes never hold any of these.
"""

import os
from functools import cached_property
from pathlib import Path

from pydantic import Field, ValidationError
from pydantic_settings import BaseSettings, PydanticBaseSettingsSource, SettingsConfigDict, TomlConfigSettingsSource

from supply_chain.errors import InvalidInput

PROJECT = Path(__file__).resolve().parent.parent


class Settings(BaseSettings):
    """Where state lives and which compute may be used."""

    model_config = SettingsConfigDict(env_prefix="SUPPLY_CHAIN_", extra="forbid", frozen=True)

    root: Path = Field(PROJECT, description="Folder that relative paths in recipes start from.")
    home: Path = Field(PROJECT / ".supply_chain", description="Folder for everything that is made here.")
    recipes: Path = Field(PROJECT / "recipes", description="Folder with recipes, catalogue and fleet policy.")
    store: str | None = Field(None, description="fsspec URL that shares stored objects between machines.")
    mlflow_uri: str | None = Field(None, description="Tracking server; default: SQLite in `home`.")
    seed: int = Field(17, ge=0, lt=2**31, description="Seed of every random choice.")
    threads: int | None = Field(None, ge=1, description="CPU threads for one heavy stage; default: measured.")
    compute: str | None = Field(
        None,
        pattern=r"^(float32|bfloat16):(sdpa|eager):\d+$",
        description="dtype:attention:threads for training, instead of measuring them.",
    )
    processes: int = Field(1, ge=1, le=64, description="Processes that train one model together; with GPUs, one each.")
    sharded: bool = Field(False, description="Shares one model's weights out over the processes' GPUs (FSDP).")
    device: str = Field("auto", pattern="^(auto|cpu|cuda)$", description="Where models run.")

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,
        file_secret_settings: PydanticBaseSettingsSource,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        file = TomlConfigSettingsSource(settings_cls, PROJECT / "settings.toml")
        return init_settings, env_settings, file

    @cached_property
    def tracking_uri(self) -> str:
        """MLflow's tracking and registry URI."""
        return self.mlflow_uri or f"sqlite:///{(self.home / 'mlflow.db').resolve()}"

    @property
    def downloads(self) -> Path:
        """Where fetched files are cached."""
        return self.home / "downloads"

    def environment(self) -> dict[str, str]:
        """These settings as environment variables, for a worker process."""
        values = self.model_dump(mode="json", exclude_none=True)
        return {f"SUPPLY_CHAIN_{name.upper()}": str(value) for name, value in values.items()}

    @cached_property
    def cores(self) -> int:
        """Cores that this process may use."""
        return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def load_settings() -> Settings:
    """The settings in force. Raises InvalidInput that names every setting at fault."""
    try:
        return Settings()
    except ValidationError as error:
        faults = "\n".join(f"  {'.'.join(map(str, e['loc']))}: {e['msg']}" for e in error.errors())
        raise InvalidInput(f"settings (SUPPLY_CHAIN_* or settings.toml):\n{faults}") from None
