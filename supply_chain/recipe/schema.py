"""The recipe schema. Defaults live in its parts, once; a recipe states decisions."""

from typing import Annotated, Any

from pydantic import AfterValidator, Field, ValidationInfo, model_validator

from supply_chain.recipe.adapter import adapter_faults
from supply_chain.recipe.automate import Automate
from supply_chain.recipe.continual import Continued
from supply_chain.recipe.data import DataSpec, Task
from supply_chain.recipe.distill import DistillTrain
from supply_chain.recipe.evaluate import Evaluate
from supply_chain.recipe.jinja import shows_shots
from supply_chain.recipe.misfits import asked_faults, misfits, slice_faults, stock_faults
from supply_chain.recipe.part import Part, Surroundings
from supply_chain.recipe.preference import PreferenceTrain
from supply_chain.recipe.promote import Promote
from supply_chain.recipe.prompt import JinjaPrompt, PlainPrompt, Prompt
from supply_chain.recipe.quantize import Adapter, BnbNf4, Choose, Quantize, quantize_faults
from supply_chain.recipe.route import Route
from supply_chain.recipe.search import Search, search_faults
from supply_chain.recipe.sources import is_pinned
from supply_chain.recipe.tasks import METRICS, for_task
from supply_chain.recipe.teachers import endpoint_faults, start_faults, teacher_faults
from supply_chain.recipe.train import FullTrain, HeadTrain, LoraTrain, QloraTrain

Train = Annotated[
    LoraTrain | QloraTrain | FullTrain | HeadTrain | DistillTrain | PreferenceTrain, Field(discriminator="method")
]


def _known_base(value: str, info: ValidationInfo) -> str:
    surroundings: Surroundings | None = info.context
    if surroundings is not None and value not in surroundings.bases:
        raise ValueError(f"unknown base model {value!r}; known: {', '.join(surroundings.bases)}")
    return value


class Recipe(Part):
    """One specialist, from data to route."""

    name: Annotated[str, Field(pattern=r"^[a-z][a-z0-9_]{1,60}$")]
    description: str = Field(min_length=10)
    owner: Annotated[str, Field(pattern=r"^(team:[A-Za-z0-9_-]+|[^@\s]+@[^@\s]+\.[^@\s]+)$")]
    """`team:name` or an e-mail address."""
    task: Task = "classification"
    suite: str | None = Field(None, exclude_if=lambda value: value is None)
    """Name of a file in `evals/suites`; `evaluate` and `promote` inherit what they leave out."""
    data: DataSpec
    base: Annotated[str, AfterValidator(_known_base)]
    """Name in `base_models.yaml`."""
    prompt: Prompt = PlainPrompt()
    train: Train
    search: Search | None = None
    quantize: list[Quantize] = Field([BnbNf4(scheme="bnb-nf4")], min_length=1)
    """Every format is made, checked and measured; the first is the candidate, unless `choose` says which."""
    choose: Choose | None = Field(None, exclude_if=lambda value: value is None)
    """`smallest within 1 point` of full precision's metric, or `fastest under 200 MB`: picks from what was measured."""
    evaluate: Evaluate
    promote: Promote
    route: Route
    automate: Automate = Automate()

    @property
    def candidates(self) -> list[Quantize]:
        """The formats that may ship: those that answer without other weights."""
        return [scheme for scheme in self.quantize if scheme.alone]

    @model_validator(mode="before")
    @classmethod
    def _one_task(cls, values: Any) -> Any:
        return for_task(values) if isinstance(values, dict) and values.get("task") in METRICS else values

    @model_validator(mode="after")
    def _same_task(self, info: ValidationInfo) -> "Recipe":
        if self.data.task != self.task:
            raise ValueError(f"data.task is {self.data.task}, but task is {self.task}: leave data.task out")
        found = misfits(self.task, self.evaluate, [*self.promote.beats])
        found += slice_faults(self.evaluate.slices, self.data.metadata) + asked_faults(self.data, self.evaluate)
        if self.promote.generalist_margin is not None and self.evaluate.generalist is None:
            found.append("promote.generalist_margin compares with evaluate.generalist: name its endpoint")
        if self.task != "classification" and self.train.method == "head":
            found.append("train.method head answers with one label of classification; take lora, qlora or full")
        if isinstance(self.train, DistillTrain):
            found += teacher_faults(self.name, self.task, self.base, self.prompt, self.train, info.context)
            found += endpoint_faults(self.data, self.train)
        if isinstance(self.train, PreferenceTrain):
            found += start_faults(self.name, self.task, self.base, self.train, info.context)
        if self.task != "classification" and isinstance(self.train, Continued):
            named = [name for name in ("continual", "corrections") if getattr(self.train, name)]
            found += [f"train.{name} needs classification" for name in named]
        if self.task != "classification" and self.promote.max_forgetting is not None:
            found.append("promote.max_forgetting compares labels, so it needs classification")
        if self.task != "classification" and self.train.stopping:
            found.append("train.stopping ranks labels, so it needs classification")
        headed = getattr(self.train, "answers", self.train.method) == "head"
        found += quantize_faults(self.quantize, headed, self.train.max_tokens)
        if any(isinstance(scheme, Adapter) for scheme in self.quantize):
            found += adapter_faults(self.train, self.search)
        served = [scheme.scheme for scheme in self.quantize if scheme.alone]
        found += stock_faults(self.evaluate, self.promote.tasks, headed, served if self.choose else served[:1])
        if self.evaluate.shots and isinstance(self.prompt, JinjaPrompt) and not shows_shots(self.prompt.template):
            found.append("evaluate.shots asks for examples, but prompt.template does not show `shots`")
        if self.search:
            found += search_faults(self.search, self.train, self.task == "classification")
        if found:
            raise ValueError("; ".join(found))
        return self

    @model_validator(mode="after")
    def _may_change(self) -> "Recipe":
        if self.automate.on_new_data and is_pinned(self.data.source):
            raise ValueError("automate.on_new_data: data.source names its SHA-256, so its bytes never change")
        return self
