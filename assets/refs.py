"""References: how stored objects travel between processes; their bytes stay in the store."""

from pydantic import BaseModel, ConfigDict

from evals.recall import Recall
from evals.records import Forgetting, Report, Scorecard
from evals.stock_run import StockRun
from registry.gate import Decision
from supply_chain.errors import InvalidInput
from supply_chain.records import Artifact, BaseModelRecord, Curated, DataCard, Parity, Predictions, Splits, Trained
from supply_chain.store import Record, Store, Stored
from supply_chain.trials import Searched

_DATA = (Curated, Splits, DataCard)
_MODELS = (BaseModelRecord, Searched, Trained, Artifact)
_EVIDENCE = (Parity, Predictions, Recall, StockRun, Forgetting, Scorecard, Decision, Report)
KINDS: dict[str, type[Record]] = {kind.kind: kind for kind in (*_DATA, *_MODELS, *_EVIDENCE)}


class Ref(BaseModel):
    """Names one stored object; `digest` is that of its bytes."""

    model_config = ConfigDict(frozen=True, extra="forbid")
    kind: str
    key: str
    digest: str

    @classmethod
    def to(cls, stored: Stored) -> "Ref":
        """The reference to a stored object."""
        return cls(kind=stored.record.kind, key=stored.key, digest=stored.digest)

    def load(self, store: Store) -> Stored:
        """The object. Raises InvalidInput when it is gone or is not the one that was referred to."""
        stored = store.find(KINDS[self.kind], self.key)
        if stored is None:
            raise InvalidInput(f"stored {self.kind} {self.key[:12]} is gone: materialize the asset that makes it again")
        if stored.digest != self.digest:
            raise InvalidInput(
                f"stored {self.kind} {self.key[:12]} was made anew with other bytes "
                f"({stored.digest[:12]}, expected {self.digest[:12]}): materialize what follows it again"
            )
        return stored
