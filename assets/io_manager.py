"""Keeps an asset's value as references; typed inputs come back out of the store."""

import json
from pathlib import Path
from typing import Any

import dagster as dg

from assets.refs import Ref
from supply_chain.store import Store, write_atomically


class ReferenceIOManager(dg.IOManager):
    """One small JSON file an asset below `folder`: a reference or a list of them."""

    def __init__(self, folder: Path, store: Store):
        self.folder, self.store = folder, store

    def handle_output(self, context: dg.OutputContext, obj: Any) -> None:
        """Writes the references; an asset without a value writes nothing."""
        if obj is None:
            return
        refs = [Ref.to(s).model_dump() for s in obj] if isinstance(obj, list) else Ref.to(obj).model_dump()
        write_atomically(self._path(context.asset_key), json.dumps(refs))

    def load_input(self, context: dg.InputContext) -> Any:
        """The stored object, or the list of them. Raises Failure when the asset was never made."""
        found = self.latest(context.asset_key)
        if found is None:
            name = context.asset_key.to_user_string()
            raise dg.Failure(
                f"{name} has not been made yet: materialize it first",
                metadata={"error": "InvalidInput"},
                allow_retries=False,
            )
        return found

    def latest(self, key: dg.AssetKey) -> Any:
        """What the asset last made, or None. Raises InvalidInput when it is gone from the store."""
        path = self._path(key)
        if not path.exists():
            return None
        data = json.loads(path.read_text(encoding="utf-8"))
        if isinstance(data, list):
            return [Ref(**ref).load(self.store) for ref in data]
        return Ref(**data).load(self.store)

    def _path(self, key: dg.AssetKey) -> Path:
        return self.folder / f"{'.'.join(key.path)}.json"
