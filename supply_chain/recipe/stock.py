"""`evaluate.tasks`: tasks in lm-eval's own form, on local data. Their files are read, never run.

lm-eval's loader runs what a file names (`!function`) and renders its templates without a sandbox. Here a file is
plain YAML with known keys, includes stay in its folder tree, and data are files of the project.
"""

import importlib.util
from functools import lru_cache
from pathlib import Path
from typing import Annotated, Any, Literal, TypeGuard

import yaml
from pydantic import AfterValidator, ConfigDict, Field, ValidationError, ValidationInfo

from supply_chain.errors import InvalidInput
from supply_chain.recipe.files import parse
from supply_chain.recipe.part import Part, ProjectPath, Surroundings

_LONGEST_LINE, _MOST_SHOTS, _MOST_TOKENS = 5, 64, 1024
_MAX_BYTES = 1 << 20
_PLAIN = "tag:yaml.org,2002:"
_LOCAL = ("json", "csv", "parquet")

Metric = Literal[
    "acc", "acc_norm", "acc_bytes", "acc_mutual_info", "brier_score", "exact_match", "f1", "mcc", "perplexity",
    "word_perplexity", "byte_perplexity", "bits_per_byte", "bleu", "chrf", "ter",
]  # fmt: skip
Aggregation = Literal[
    "mean", "median", "perplexity", "weighted_perplexity", "bits_per_byte", "f1", "matthews_corrcoef", "bleu", "chrf",
    "ter", "brier_score",
]  # fmt: skip
Function = Literal["regex", "remove_whitespace", "take_first", "lowercase", "uppercase", "multi_choice_regex"]


def _file_or_name(value: str, info: ValidationInfo) -> str:
    around: Surroundings | None = info.context
    if around is not None:
        try:
            read_task(value, around.root)
        except InvalidInput as error:
            raise ValueError(str(error)) from None
    return value


class StockTask(Part):
    """One task of lm-eval, or a YAML file of the project's in the same form, asked of the candidate and its base."""

    name: str = Field(pattern=r"^[a-z][a-z0-9_]{0,60}$")
    """What the report and `promote.tasks` call it."""
    task: Annotated[str, AfterValidator(_file_or_name)]
    """`evals/tasks/capitals.yaml`, or the name of one of lm-eval's: `arc_easy`."""
    data: dict[str, ProjectPath] = {}
    """JSON lines, CSV or Parquet for each split that the task names: `test: data/arc_easy.jsonl`; in place of what
    the file says. Nothing is fetched."""
    rows: int = Field(500, ge=2)
    """A seeded sample of the test rows."""
    shots: int | None = Field(None, ge=0, le=_MOST_SHOTS)
    """Examples before each question; default: the task's own."""
    chat: bool = False
    """Whether prompts are put into the model's chat template."""


class _Read(Part):
    model_config = ConfigDict(frozen=True, extra="forbid")


class Scored(_Read):
    """One metric."""

    metric: Metric
    aggregation: Aggregation = "mean"
    higher_is_better: bool = True
    ignore_case: bool | None = None
    ignore_punctuation: bool | None = None
    ignore_numbers: bool | None = None
    regexes_to_ignore: list[str] | None = None
    hf_evaluate: Literal[False] = False


class Step(_Read):
    """One step of a filter over answers."""

    function: Function
    regex_pattern: str | None = None
    group_select: int | None = None
    fallback: str | None = None
    ignore_case: bool | None = None
    ignore_punctuation: bool | None = None


class Filtered(_Read):
    """Answers as one pipeline of steps leaves them."""

    name: str
    filter: list[Step]


class Generation(_Read):
    """How answers are written: greedily."""

    until: list[str] | str | None = None
    """Default: what stands between examples."""
    do_sample: Literal[False] = False
    temperature: float = Field(0, ge=0, le=0)
    max_gen_toks: int = Field(256, ge=1, le=_MOST_TOKENS)


class Shots(_Read):
    """How examples are chosen."""

    sampler: Literal["default", "first_n"] = "default"


class TaskFile(_Read):
    """What a task's file may say; keys that decide nothing here may stand and are left alone."""

    task: str
    dataset_path: str | None = None
    dataset_name: str | None = None
    dataset_kwargs: dict[str, Any] | None = None
    training_split: str | None = None
    validation_split: str | None = None
    test_split: str | None = None
    fewshot_split: str | None = None
    output_type: Literal["multiple_choice", "loglikelihood", "loglikelihood_rolling", "generate_until"]
    doc_to_text: str
    doc_to_target: str | int
    doc_to_choice: str | list[str] | dict[str, str] | None = None
    description: str = ""
    target_delimiter: str = " "
    fewshot_delimiter: str = "\n\n"
    fewshot_config: Shots | None = None
    num_fewshot: int | None = Field(None, ge=0, le=_MOST_SHOTS)
    generation_kwargs: Generation | None = None
    metric_list: list[Scored] = Field(min_length=1)
    filter_list: list[Filtered] | None = None
    repeats: Literal[1] = 1
    gen_prefix: str | None = None
    tag: Any = None
    task_alias: Any = None
    metadata: Any = None
    should_decontaminate: bool = False
    doc_to_decontamination_query: Any = None

    @property
    def asked_split(self) -> str:
        """The split that is asked. Raises InvalidInput."""
        found = self.test_split or self.validation_split
        if found is None:
            raise InvalidInput("names neither test_split nor validation_split")
        return found

    @property
    def shown_split(self) -> str | None:
        """The split that examples come from."""
        return self.fewshot_split or self.training_split or self.validation_split

    def files(self, given: dict[str, str]) -> dict[str, str]:
        """Where each split's rows lie, below the project's root. Raises InvalidInput for data of the hub."""
        if given:
            return given
        told = self.dataset_kwargs or {}
        named = told.get("data_files")
        if self.dataset_path not in _LOCAL or {*told} != {"data_files"} or not _are_paths(named):
            raise InvalidInput(
                f"names no local files ({self.dataset_path or 'no dataset_path'}): state data: "
                f"{{{self.asked_split}: data/FILE.jsonl}} in evaluate.tasks"
            )
        return named


def _are_paths(named: object) -> TypeGuard[dict[str, str]]:
    return isinstance(named, dict) and bool(named) and all(isinstance(v, str) for v in (*named, *named.values()))


def read_task(task: str, root: Path) -> TaskFile:
    """A task's file with what it includes. Raises InvalidInput with every fault, and for whatever would run code."""
    path, within = (root / task, root) if task.endswith((".yaml", ".yml")) else _stock_file(task)
    try:
        found = TaskFile.model_validate(_merged(path, within, 0))
        for template in (found.description, found.gen_prefix or ""):
            if "{{" in template or "{%" in template or "{#" in template:
                raise InvalidInput("description and gen_prefix must be plain text here, without a template")
        found.asked_split  # noqa: B018 (raises)
    except ValidationError as error:
        told = [f"{'.'.join(map(str, e['loc']))}: {_plainly(e)}" for e in error.errors()]
        raise InvalidInput(f"{task}: {'; '.join(told)}") from None
    except InvalidInput as error:
        raise InvalidInput(f"{task}: {error}") from None
    return found


def _plainly(error: Any) -> str:
    return "is not read here (it would run code or fetch data)" if error["type"] == "extra_forbidden" else error["msg"]


@lru_cache(maxsize=256)
def _stock_file(name: str) -> tuple[Path, Path]:
    spec = importlib.util.find_spec("lm_eval")
    if spec is None or not spec.submodule_search_locations:
        raise InvalidInput(f"{name}: lm-eval is not installed, so it has no tasks: name a YAML file of the project")
    folder = Path(spec.submodule_search_locations[0]) / "tasks"
    found = sorted(folder.rglob(f"{name}.yaml")) if name.replace("_", "").replace("-", "").isalnum() else []
    if not found:
        raise InvalidInput(f"{name}: lm-eval has no file {name}.yaml; name a YAML file of the project, or such a task")
    return found[0], folder


def _merged(path: Path, within: Path, depth: int) -> dict[str, Any]:
    """The keys of a file over those of what it includes."""
    resolved = path.resolve()
    if not resolved.is_relative_to(within.resolve()) or not resolved.is_file():
        raise InvalidInput(f"no such file inside {within.name}: {str(path)[-200:]!r}")
    if depth > _LONGEST_LINE:
        raise InvalidInput(f"includes more than {_LONGEST_LINE} files in a row")
    _check_tags(resolved)
    own = parse(resolved)[1]
    if not isinstance(own, dict):
        raise InvalidInput(f"{path.name} holds no mapping")
    included = own.pop("include", [])
    merged: dict[str, Any] = {}
    for name in included if isinstance(included, list) else [included]:
        merged |= _merged(resolved.parent / str(name), within, depth + 1)
    return merged | own


def _check_tags(path: Path) -> None:
    """Raises InvalidInput for `!function` and any other tag: they make lm-eval import what the file names."""
    if path.stat().st_size > _MAX_BYTES:
        return  # `parse` says what is wrong, here and below
    try:
        events = list(yaml.parse(path.read_text(encoding="utf-8"), Loader=yaml.SafeLoader))
    except (yaml.YAMLError, UnicodeDecodeError, OSError):
        return
    for event in events:
        tag = getattr(event, "tag", None)
        if tag and not tag.startswith(_PLAIN):
            line = event.start_mark.line + 1 if event.start_mark else 0
            raise InvalidInput(f"{path.name} line {line}: {tag} runs code, which is refused")
