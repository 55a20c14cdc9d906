"""Runs lm-eval's tasks on stored weights, on our engine. The run loads torch; its key does not.

lm-eval is handed rows that are rendered already (see `evals/stock_rows.py`) and a configuration that is written
here: of a task's own file it sees texts and names from fixed lists, nothing that it would render, fetch or run.
"""

import json
import math
import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import numpy as np

from evals.stock import StockMetric
from evals.stock_rows import rows_of, source_of
from supply_chain.data.source import Located
from supply_chain.errors import InvalidInput, SupplyChainError
from supply_chain.identity import identity
from supply_chain.recipe.stock import StockTask, TaskFile, read_task
from supply_chain.records import Compute
from supply_chain.settings import Settings
from supply_chain.store import Record, Store, Stored

VERSION = 1
_FILE, _DRAWS = "metrics.json", 200
_ASKED, _SHOWN = "asked", "shown"


class StockRun(Record):
    """`metrics.json`: every metric of every task for one model."""

    kind: ClassVar[str] = "stock_run"
    model_digest: str
    tasks: list[str]


@dataclass(frozen=True)
class Ready:
    """A task with what its file says and where its rows lie."""

    spec: StockTask
    file: TaskFile
    asked: Located
    shown: Located | None
    """Where examples come from; None: from nowhere, or from the rows that are asked."""

    @property
    def told(self) -> dict[str, object]:
        """What decides the questions."""
        data = [source.version for source in (self.asked, self.shown) if source]
        asked = self.spec.model_dump(include={"name", "rows", "chat"})
        return {**asked, "file": self.file, "shots": self.shots, "data": data}

    @property
    def shots(self) -> int:
        """Examples before each question."""
        return self.spec.shots if self.spec.shots is not None else self.file.num_fewshot or 0


def ready(tasks: Sequence[StockTask], settings: Settings) -> list[Ready]:
    """Every task's file and data. Raises InvalidInput that names the task."""
    found = []
    for spec in tasks:
        file = read_task(spec.task, settings.root)
        try:
            files, asked, shown = file.files(spec.data), file.asked_split, file.shown_split
            if asked not in files:
                raise InvalidInput(f"no file for the split {asked!r}: state data: {{{asked}: FILE}}")
            examples = source_of(files[shown], settings) if shown in files and shown != asked else None
            one = Ready(spec, file, source_of(files[asked], settings), examples)
            if one.shots and shown != asked and examples is None:
                raise InvalidInput(f"{one.shots} examples are to come from the split {shown!r}, which has no file")
        except InvalidInput as error:
            raise InvalidInput(f"evaluate.tasks: {spec.name}: {error}") from None
        found.append(one)
    return found


def stock_key(model_digest: str, tasks: Sequence[Ready], seed: int) -> str:
    """What decides a model's metrics: its weights, what each task's file says, and the rows."""
    told = [one.told for one in tasks]
    return identity("stock_run", VERSION, model=model_digest, tasks=told, seed=seed)


def run_tasks(
    model: Stored[Any], tasks: Sequence[Ready], compute: Compute, seed: int, store: Store
) -> Stored[StockRun]:
    """Asks a model every task. Raises InvalidInput for rows that no score can be given for: an error is no score."""

    def make(folder: Path) -> StockRun:
        from evals.engine import TreeLM  # noqa: PLC0415 (torch and lm-eval)
        from supply_chain.loaded import has_head  # noqa: PLC0415
        from supply_chain.opening import open_artifact  # noqa: PLC0415

        loaded = open_artifact(model.verify().path, compute)
        if loaded.native or has_head(loaded.model):
            raise InvalidInput("evaluate.tasks: lm-eval's tasks need a transformers model that answers in words")
        engine = TreeLM(loaded)
        found = [metric for one in tasks for metric in _run(engine, one, folder / "work", seed)]
        (folder / _FILE).write_text(json.dumps([one.model_dump() for one in found]), encoding="utf-8")
        return StockRun(model_digest=model.digest, tasks=[one.spec.name for one in tasks])

    return store.once(StockRun, stock_key(model.digest, tasks, seed), make)


def read_metrics(stored: Stored[StockRun]) -> list[StockMetric]:
    """Every metric of a run. Raises CorruptData."""
    found = json.loads((stored.verify().path / _FILE).read_text(encoding="utf-8"))
    return [StockMetric.model_validate(one) for one in found]


def _run(engine: Any, one: Ready, work: Path, seed: int) -> list[StockMetric]:
    from lm_eval import simple_evaluate  # noqa: PLC0415
    from lm_eval.tasks import TaskManager  # noqa: PLC0415

    config = _config(one, work, seed)
    try:
        results = simple_evaluate(
            model=engine,
            tasks=[config],
            num_fewshot=one.shots,
            apply_chat_template=one.spec.chat,
            task_manager=TaskManager(include_defaults=False),
            bootstrap_iters=0,
        )
        assert results is not None
        return _metrics(one, results["samples"][one.spec.name], seed)
    except SupplyChainError:
        raise
    except Exception as error:  # lm-eval's own, on data that are anyone's; an error is never a score
        raise InvalidInput(
            f"task {one.spec.name}: lm-eval failed ({type(error).__name__}: {error}); nothing was scored"
        ) from error
    finally:
        shutil.rmtree(work, ignore_errors=True)


def _config(one: Ready, work: Path, seed: int) -> dict[str, Any]:
    """lm-eval's configuration of a task whose rows are columns of files in `work`."""
    from datasets import Features, List, Value  # noqa: PLC0415

    file, name, work = one.file, one.spec.name, work / one.spec.name
    asked = rows_of(name, one.asked, file, (seed, one.spec.rows))
    parts = {_ASKED: asked}
    if one.shots:
        parts[_SHOWN] = rows_of(name, one.shown, file) if one.shown else asked
    work.mkdir(parents=True)
    for part, rows in parts.items():
        (work / f"{part}.jsonl").write_text("".join(f"{row.model_dump_json()}\n" for row in rows), encoding="utf-8")
    kinds = {"int": Value("int64"), "str": Value("string")}
    first = asked[0].target
    target = List(kinds[type(first[0]).__name__]) if isinstance(first, list) else kinds[type(first).__name__]
    kept = file.model_dump(
        exclude_none=True,
        include={"output_type", "description", "target_delimiter", "fewshot_delimiter", "fewshot_config", "gen_prefix"}
        | {"generation_kwargs", "metric_list", "filter_list"},
    )
    return kept | {
        "task": name,
        "dataset_path": "json",
        "dataset_kwargs": {
            "data_files": {part: str((work / f"{part}.jsonl").resolve()) for part in parts},
            "cache_dir": str((work / "cache").resolve()),
            "features": Features({"text": Value("string"), "target": target, "choices": List(Value("string"))}),
        },
        "test_split": _ASKED,
        # The same split for both makes lm-eval leave the question itself out of its examples.
        "fewshot_split": _SHOWN if one.shown and one.shots else _ASKED,
        "doc_to_text": "text",
        "doc_to_target": "target",
        **({"doc_to_choice": "choices"} if file.doc_to_choice is not None else {}),
    }


def _metrics(one: Ready, samples: Sequence[dict[str, Any]], seed: int) -> list[StockMetric]:
    """Every metric from lm-eval's own figures of single rows."""
    from lm_eval.api.registry import get_aggregation  # noqa: PLC0415

    found = []
    for kept in dict.fromkeys(sample["filter"] for sample in samples):
        rows = sorted((s for s in samples if s["filter"] == kept), key=lambda sample: sample["doc_id"])
        for scored in one.file.metric_list:
            values = [row[scored.metric] for row in rows]
            name = scored.metric if kept == "none" else f"{scored.metric}.{kept}"
            gather = get_aggregation(scored.aggregation)
            shares = scored.aggregation == "mean" and all(value in {0, 1} for value in values)
            metric = StockMetric(
                task=one.spec.name,
                metric=name,
                higher_is_better=scored.higher_is_better,
                rows=len(values),
                value=_finite(gather(values), one, name),
                right=[int(value) for value in values] if shares else [],
                draws=[] if shares else _draws(gather, values, one, name, seed),
            )
            found.append(metric)
    return found


def _draws(gather: Any, values: Sequence[Any], one: Ready, name: str, seed: int) -> list[float]:
    rng = np.random.default_rng(seed)
    drawn = rng.integers(0, len(values), (_DRAWS, len(values)))
    return [_finite(gather([values[i] for i in row]), one, name) for row in drawn]


def _finite(value: Any, one: Ready, name: str) -> float:
    if not math.isfinite(value):
        raise InvalidInput(f"task {one.spec.name}: {name} is {value}, which is no score; look at its rows")
    return float(value)
