"""The process that holds the models: `python -m registry.serving.process PLAN.json`; see `fleet.py`."""

import os
import sys
from pathlib import Path

from pydantic import BaseModel, ConfigDict

from supply_chain.errors import SupplyChainError


class Spoken(BaseModel):
    """Folders of the specialists by name, of base models that chat by name, and the port on the loopback."""

    model_config = ConfigDict(frozen=True, extra="forbid")
    port: int
    specialists: dict[str, Path]
    chatting: dict[str, Path] = {}


def main() -> None:
    """Loads every model, then answers; exit code 2 for a folder that cannot be used."""
    os.environ.update({"HF_HUB_OFFLINE": "1", "TRANSFORMERS_VERBOSITY": "error", "TQDM_DISABLE": "1"})
    import uvicorn  # noqa: PLC0415

    from registry.serving.chat import chat_app  # noqa: PLC0415 (after the environment)
    from registry.serving.speakers import Chatting, Speaker, Specialist  # noqa: PLC0415

    plan = Spoken.model_validate_json(Path(sys.argv[1]).read_bytes())
    try:
        speakers: dict[str, Speaker] = {name: Specialist(path) for name, path in plan.specialists.items()}
        speakers |= {name: Chatting(path) for name, path in plan.chatting.items()}
    except SupplyChainError as error:
        sys.stderr.write(f"{error}\n")
        sys.exit(2)
    uvicorn.run(chat_app(speakers), host="127.0.0.1", port=plan.port, log_level="warning", access_log=False)


if __name__ == "__main__":
    main()
