"""One of a recipe's assets as it is declared: enough for a plan, and Dagster's definition of it when Dagster asks.

`@asset` finds out, by looking at a function some twenty times, what is known here; with hundreds of recipes that took
longer than all else. So the op and the asset are stated, with the classes that `@asset` ends in.
"""

import inspect
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache, cached_property
from typing import Any

import dagster as dg

from assets.shown import WHOLE, shown, value_at
from supply_chain.identity import identity
from supply_chain.recipe import Recipe

_MADE, _NOT_ALWAYS = dg.Out(dg.Any), dg.Out(dg.Any, is_required=False)


@dataclass(frozen=True)
class Declared:
    """An asset of a recipe: `function` takes its `ins` by name, after the `context` where it names one.

    Other fields are as `dagster.asset` has them.
    """

    recipe: Recipe
    name: str
    function: Callable[..., Any]
    parts: tuple[str, ...]
    """Parts of the recipe (`data.split`) that decide what is made: an edit of them shows the asset as stale."""
    kinds: set[str]
    ins: Mapping[str, dg.AssetKey] = field(default_factory=dict)
    deps: Sequence[dg.AssetKey] = ()
    check_specs: Sequence[dg.AssetCheckSpec] = ()
    output_required: bool = True
    retry_policy: dg.RetryPolicy | None = None
    freshness_policy: dg.FreshnessPolicy | None = None
    config_schema: Mapping[str, dg.Field] | None = None
    op_tags: Mapping[str, Any] | None = None
    tags: Mapping[str, str] | None = None

    @cached_property
    def key(self) -> dg.AssetKey:
        """The recipe's name, then the asset's."""
        return dg.AssetKey([self.recipe.name, self.name])

    @property
    def parents(self) -> list[dg.AssetKey]:
        """The assets that come before this one."""
        return [*self.ins.values(), *self.deps]

    @cached_property
    def code_version(self) -> str:
        """Digest of the parts of the recipe."""
        return identity("asset", 1, parts=[value_at(self.recipe, part) for part in self.parts if part != WHOLE])[:12]

    def definition(self, resources: Mapping[str, dg.ResourceDefinition]) -> dg.AssetsDefinition:
        """What Dagster runs, with these resources, and shows."""
        checks = {spec.get_python_identifier(): spec for spec in self.check_specs}
        before = {"__".join(key.path): key for key in self.deps}
        op = dg.OpDefinition(
            _compute(self.function),
            "__".join(self.key.path),
            ins={name: _read(name) for name in self.ins} | {name: dg.In(dg.Nothing) for name in before},
            outs={"result": _MADE if self.output_required else _NOT_ALWAYS, **dict.fromkeys(checks, _MADE)},
            config_schema=self.config_schema,
            required_resource_keys={"pipes"},
            tags=self.op_tags,
            retry_policy=self.retry_policy,
            code_version=self.code_version,
        )
        spec = dg.AssetSpec(
            self.key,
            deps=self.parents,
            description=f"{inspect.cleandoc(self.function.__doc__ or '')}{shown(self.recipe, self.parts)}",
            group_name=self.recipe.name,
            code_version=self.code_version,
            owners=[self.recipe.owner],
            tags=self.tags,
            kinds=self.kinds,
            freshness_policy=self.freshness_policy,
        )
        return _Equipped(
            keys_by_input_name={**self.ins, **before},
            keys_by_output_name={"result": self.key},
            node_def=op,
            check_specs_by_output_name=checks,
            specs=[spec],
            resource_defs=resources,
        )


class _Equipped(dg.AssetsDefinition):
    """Has its resources; Dagster would give them to it by making it a second time, a tenth of all for hundreds."""

    def with_resources(self, resource_defs: Mapping[str, dg.ResourceDefinition]) -> dg.AssetsDefinition:
        """Itself."""
        return self


@cache
def _read(name: str) -> Any:
    """An input that any asset may have; `OpDefinition` takes it defined, too, and defining it is slow."""
    return dg.In(dg.Any).to_definition(name)


def _compute(function: Callable[..., Any]) -> Callable[[dg.AssetExecutionContext, dict[str, Any]], Iterator[Any]]:
    def compute(context: dg.AssetExecutionContext, inputs: dict[str, Any]) -> Iterator[Any]:
        sees = "context" in inspect.signature(function).parameters
        made = function(context, **inputs) if sees else function(**inputs)
        yield from made if inspect.isgenerator(made) else [made]

    return compute
